//! Configuration of apps: what `#[derive(Config)]` builds on.

use serde_json::{Map, Value};
use taps_schema::{ConfigField, FieldKind};

use crate::{Error, Result};

/// Configuration of an app; derive it.
///
/// ```
/// /// Tiled Cholesky factorisation.
/// #[derive(taps::Config)]
/// struct Cholesky {
///     /// Side of the square matrix.
///     #[taps(min = 1)]
///     matrix_size: u32,
///     /// Side of a tile.
///     #[taps(default = 500, min = 1)]
///     block_size: u32,
/// }
///
/// use taps::Config as _;
/// assert_eq!(Cholesky::SUMMARY, "Tiled Cholesky factorisation.");
/// let config = Cholesky::from_json(&serde_json::json!({ "matrix_size": 4000 }))?;
/// assert_eq!(config.block_size, 500);
/// # assert_eq!(config.matrix_size, 4000);
/// # Ok::<(), taps::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a configuration",
    note = "add `#[derive(taps::Config)]` to the struct"
)]
pub trait Config: Sized {
    /// Doc comment of the struct.
    const SUMMARY: &'static str;
    /// The fields, in the order of declaration.
    fn fields() -> Vec<ConfigField>;
    /// Reads and checks the configuration. Errors name the field, the value and what was
    /// expected.
    fn from_json(config: &Value) -> Result<Self>;
}

/// A bound given by `min` or `max`.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// Whole number.
    Integer(i64),
    /// Floating-point number.
    Float(f64),
}

impl From<i64> for Limit {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for Limit {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl Limit {
    fn integer(self) -> i64 {
        match self {
            Self::Integer(value) => value,
            Self::Float(value) => value as i64,
        }
    }

    fn float(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

/// A type that a field of a configuration can have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a field of a configuration",
    note = "fields are whole numbers, f32, f64, bool, String, InputFile, InputDir, OutputDir, `#[derive(taps::ConfigEnum)]` types, and Option and Vec of those"
)]
pub trait ConfigValue: Sized {
    /// Whether the value may be absent.
    const OPTIONAL: bool = false;
    /// The type, with the bounds that the field declares.
    fn kind(min: Option<Limit>, max: Option<Limit>) -> FieldKind;
    /// The value in `value`; `None` if it is of another type or out of bounds.
    fn parse(value: &Value, kind: &FieldKind) -> Option<Self>;
    /// The value when the field is absent and has no default.
    fn absent() -> Option<Self> {
        None
    }
    /// The value as JSON, for descriptions.
    fn to_json(&self) -> Value;
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl ConfigValue for $type {
            fn kind(min: Option<Limit>, max: Option<Limit>) -> FieldKind {
                FieldKind::Integer {
                    min: min.map(Limit::integer).or_else(|| i64::try_from(<$type>::MIN).ok()),
                    max: max.map(Limit::integer).or_else(|| i64::try_from(<$type>::MAX).ok()),
                }
            }
            fn parse(value: &Value, kind: &FieldKind) -> Option<Self> {
                let number = <$type>::try_from(integer(value)?).ok()?;
                let FieldKind::Integer { min, max } = kind else {
                    return None;
                };
                let number_wide = i128::from(number);
                let fits = min.is_none_or(|min| number_wide >= i128::from(min))
                    && max.is_none_or(|max| number_wide <= i128::from(max));
                fits.then_some(number)
            }
            fn to_json(&self) -> Value {
                Value::from(*self)
            }
        }
    )*};
}

integers!(u8, u16, u32, u64, i8, i16, i32, i64);

/// A whole number, also written as `4000.0` or `4e3`.
fn integer(value: &Value) -> Option<i128> {
    if let Some(number) = value.as_i64() {
        return Some(i128::from(number));
    }
    if let Some(number) = value.as_u64() {
        return Some(i128::from(number));
    }
    let number = value.as_f64()?;
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i128)
}

impl ConfigValue for usize {
    fn kind(min: Option<Limit>, max: Option<Limit>) -> FieldKind {
        // The same on a 32-bit guest and a 64-bit host, or descriptions would differ.
        u32::kind(min, max)
    }
    fn parse(value: &Value, kind: &FieldKind) -> Option<Self> {
        usize::try_from(u32::parse(value, kind)?).ok()
    }
    fn to_json(&self) -> Value {
        Value::from(*self)
    }
}

macro_rules! floats {
    ($($type:ty),*) => {$(
        impl ConfigValue for $type {
            fn kind(min: Option<Limit>, max: Option<Limit>) -> FieldKind {
                FieldKind::Float { min: min.map(Limit::float), max: max.map(Limit::float) }
            }
            fn parse(value: &Value, kind: &FieldKind) -> Option<Self> {
                let number = value.as_f64()?;
                let FieldKind::Float { min, max } = kind else {
                    return None;
                };
                let fits = min.is_none_or(|min| number >= min)
                    && max.is_none_or(|max| number <= max);
                fits.then_some(number as $type)
            }
            fn to_json(&self) -> Value {
                Value::from(*self)
            }
        }
    )*};
}

floats!(f32, f64);

impl ConfigValue for bool {
    fn kind(_: Option<Limit>, _: Option<Limit>) -> FieldKind {
        FieldKind::Bool
    }
    fn parse(value: &Value, _: &FieldKind) -> Option<Self> {
        value.as_bool()
    }
    fn to_json(&self) -> Value {
        Value::from(*self)
    }
}

impl ConfigValue for String {
    fn kind(_: Option<Limit>, _: Option<Limit>) -> FieldKind {
        FieldKind::String
    }
    fn parse(value: &Value, _: &FieldKind) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
    fn to_json(&self) -> Value {
        Value::from(self.as_str())
    }
}

impl ConfigValue for Map<String, Value> {
    fn kind(_: Option<Limit>, _: Option<Limit>) -> FieldKind {
        FieldKind::Table
    }
    fn parse(value: &Value, _: &FieldKind) -> Option<Self> {
        value.as_object().cloned()
    }
    fn to_json(&self) -> Value {
        Value::Object(self.clone())
    }
}

impl<T: ConfigValue> ConfigValue for Option<T> {
    const OPTIONAL: bool = true;
    fn kind(min: Option<Limit>, max: Option<Limit>) -> FieldKind {
        T::kind(min, max)
    }
    fn parse(value: &Value, kind: &FieldKind) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::parse(value, kind).map(Some),
        }
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
    fn to_json(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_json)
    }
}

impl<T: ConfigValue> ConfigValue for Vec<T> {
    fn kind(min: Option<Limit>, max: Option<Limit>) -> FieldKind {
        FieldKind::List {
            item: Box::new(T::kind(min, max)),
        }
    }
    fn parse(value: &Value, kind: &FieldKind) -> Option<Self> {
        let FieldKind::List { item: kind } = kind else {
            return None;
        };
        let items = value.as_array()?;
        items.iter().map(|item| T::parse(item, kind)).collect()
    }
    fn to_json(&self) -> Value {
        self.iter().map(T::to_json).collect()
    }
}

/// A type whose values are a few words; derive it with `#[derive(taps::ConfigEnum)]`.
pub trait ConfigEnum: Sized + 'static {
    /// The words, in kebab case, in the order of declaration.
    const WORDS: &'static [&'static str];
    /// The value of a word.
    fn from_word(word: &str) -> Option<Self>;
    /// The word of this value.
    fn word(&self) -> &'static str;
}

/// The word as it is compared: lower case, underscores and dashes alike.
fn plain(word: &str) -> String {
    word.to_lowercase().replace('_', "-")
}

#[doc(hidden)]
pub fn enum_kind<T: ConfigEnum>() -> FieldKind {
    FieldKind::Enum {
        values: T::WORDS.iter().map(|word| (*word).to_owned()).collect(),
    }
}

#[doc(hidden)]
pub fn enum_parse<T: ConfigEnum>(value: &Value) -> Option<T> {
    T::from_word(&plain(value.as_str()?))
}

macro_rules! paths {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// The path. Files are read by [`Engine::input_file`](crate::Engine::input_file); within
            /// directories [`std::fs`] serves as well.
            pub fn path(&self) -> &str {
                &self.0
            }

            /// The path of something below it.
            pub fn join(&self, name: &str) -> String {
                format!("{}/{name}", self.0.trim_end_matches('/'))
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<std::path::Path> for $name {
            fn as_ref(&self) -> &std::path::Path {
                std::path::Path::new(&self.0)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl ConfigValue for $name {
            fn kind(_: Option<Limit>, _: Option<Limit>) -> FieldKind {
                FieldKind::$name
            }
            fn parse(value: &Value, _: &FieldKind) -> Option<Self> {
                let path = value.as_str()?;
                (!path.is_empty()).then(|| Self(path.to_owned()))
            }
            fn to_json(&self) -> Value {
                Value::from(self.0.as_str())
            }
        }
    )*};
}

impl OutputDir {
    /// Writes a file below it, which gets its name when it is whole; `name` may begin with directories that
    /// are there.
    pub fn write(&self, name: &str, content: &[u8]) -> std::io::Result<()> {
        let (path, partial) = (self.join(name), self.join(&format!("{name}.partial")));
        let written = std::fs::write(&partial, content);
        written
            .and_then(|()| std::fs::rename(&partial, path))
            .inspect_err(|_| {
                // Nothing more can be done than to try.
                let _ = std::fs::remove_file(&partial);
            })
    }
}

paths! {
    /// Grant: a file that the app may read, by [`Engine::input_file`](crate::Engine::input_file) alone.
    /// Holds the path under which the app sees it.
    InputFile
    /// Grant: a directory tree that the app may read. Holds the path under which the app sees it.
    InputDir
    /// Grant: a directory that the app may write. Holds the path under which the app sees it.
    OutputDir
}

/// Reads one field. Used by the code that `#[derive(Config)]` makes.
#[doc(hidden)]
pub fn parse_field<T: ConfigValue>(config: &Map<String, Value>, field: &ConfigField) -> Result<T> {
    let given = config.get(&field.name);
    let value = match (given, &field.default) {
        (Some(Value::Null), _) if T::OPTIONAL => None,
        (Some(Value::Null) | None, Some(default)) => Some(default),
        (given, _) => given,
    };
    let Some(value) = value else {
        return T::absent()
            .ok_or_else(|| Error::config(&field.name, "(missing)", expected(&field.kind)));
    };
    T::parse(value, &field.kind)
        .ok_or_else(|| Error::config(&field.name, value, expected(&field.kind)))
}

/// The object of a configuration, without unknown fields.
#[doc(hidden)]
pub fn object<'a>(config: &'a Value, fields: &[ConfigField]) -> Result<&'a Map<String, Value>> {
    let object = config
        .as_object()
        .ok_or_else(|| Error::config("config", config, "a table of fields"))?;
    for (name, value) in object {
        if !fields.iter().any(|field| field.name == *name) {
            let known: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
            return Err(Error::config(
                name,
                value,
                format!("one of the fields {}", known.join(", ")),
            ));
        }
    }
    Ok(object)
}

/// What a field accepts, to be read after "expected".
pub(crate) fn expected(kind: &FieldKind) -> String {
    match kind {
        FieldKind::Bool => "true or false".to_owned(),
        FieldKind::Integer { min, max } => format!("a whole number{}", range(*min, *max)),
        FieldKind::Float { min, max } => format!("a number{}", range(*min, *max)),
        FieldKind::String => "text".to_owned(),
        FieldKind::Enum { values } => format!("one of {}", values.join(", ")),
        FieldKind::List { item } => format!("a list, each item {}", expected(item)),
        FieldKind::Table => "a table".to_owned(),
        FieldKind::InputFile => "the path of a file".to_owned(),
        FieldKind::InputDir | FieldKind::OutputDir => "the path of a directory".to_owned(),
    }
}

fn range<T: std::fmt::Display>(min: Option<T>, max: Option<T>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!(" from {min} to {max}"),
        (Some(min), None) => format!(" of at least {min}"),
        (None, Some(max)) => format!(" of at most {max}"),
        (None, None) => String::new(),
    }
}
