//! Values as written, turned into values of a field's type.

use crate::error::Problem;
use crate::fields::{MOST_RETRIES, RETRIED, Rule};
use crate::general::{DirFormat, LogLevel};
use crate::help::describe_kind;
use crate::layers::{quoted, same_word, shown};
use crate::{paths, suggest, units};
use serde_json::{Map, Value};
use std::path::{Component, Path};
use taps_schema::{ConfigField, FieldKind};

/// A value as written, one way or another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    /// Text of a flag.
    Text(&'a str),
    /// Texts of a flag that was repeated: only for lists.
    Texts(&'a [&'a str]),
    /// Value of a file, or JSON.
    Json(&'a Value),
}

impl Input<'_> {
    fn shown(self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Texts(texts) => quoted(&texts.join(" ")),
            Self::Json(value) => shown(value),
        }
    }

    fn is_none(self) -> bool {
        match self {
            Self::Text(text) => is_none_word(text),
            Self::Texts([text]) => is_none_word(text),
            Self::Json(Value::String(text)) => is_none_word(text),
            Self::Json(Value::Null) => true,
            _ => false,
        }
    }
}

/// Whether a word stands for null.
pub(crate) fn is_none_word(word: &str) -> bool {
    word.eq_ignore_ascii_case("none")
}

/// The value of `field` in the form in which it is kept, or why there is none.
pub(crate) fn convert(
    field: &ConfigField,
    rule: Rule,
    input: Input<'_>,
    paths: Paths<'_>,
) -> Result<Value, Problem> {
    let means_itself = matches!(&field.kind, FieldKind::Enum { values }
        if values.iter().any(|value| is_none_word(value)));
    if input.is_none() && !means_itself {
        return if field.optional {
            Ok(Value::Null)
        } else {
            Err(Problem::NotOptional {
                expected: describe(&field.kind, rule),
            })
        };
    }
    match rule {
        Rule::Size => size(input),
        Rule::LogLevel => log_level(input),
        Rule::Rate => rate(input),
        Rule::Names => {
            let names = names(input);
            let input = names.as_ref().map_or(input, Input::Json);
            Target { paths }.convert(&field.kind, input)
        }
        Rule::None
        | Rule::FileName
        | Rule::DirFormat
        | Rule::TextTable
        | Rule::RetriesFor
        | Rule::Collector => {
            let value = Target { paths }.convert(&field.kind, input)?;
            check_rule(rule, value)
        }
    }
}

/// Names separated by commas, as a list; none where it is no text of names.
fn names(input: Input<'_>) -> Option<Value> {
    let texts: Vec<&str> = match input {
        Input::Text(text) => vec![text],
        Input::Texts(texts) => texts.iter().map(AsRef::as_ref).collect(),
        Input::Json(_) => return None,
    };
    if texts.iter().any(|text| text.trim_start().starts_with('[')) {
        return None;
    }
    let names = texts.iter().flat_map(|text| text.split(',').map(str::trim));
    Some(
        names
            .filter(|name| !name.is_empty())
            .map(Value::from)
            .collect(),
    )
}

/// What a field allows, in words.
pub(crate) fn describe(kind: &FieldKind, rule: Rule) -> String {
    match rule {
        Rule::Size => "a size such as `512 MiB`, or a number of MB".to_owned(),
        Rule::LogLevel => format!(
            "one of {}, or a number from 0 to 255",
            LogLevel::NAMED.map(|(name, _)| name).join(", ")
        ),
        Rule::FileName => "a file name without directories".to_owned(),
        Rule::DirFormat => "a directory".to_owned(),
        Rule::TextTable => {
            "a table of text, on the command line as JSON such as `{\"NAME\": \"value\"}`"
                .to_owned()
        }
        Rule::RetriesFor => format!(
            "a table of outcomes ({}) with how often each is tried again, on the command line as \
             JSON such as `{{\"worker-lost\": 5}}`",
            RETRIED.join(", ")
        ),
        Rule::Names => "names separated by commas".to_owned(),
        Rule::Collector => {
            "an address such as `http://127.0.0.1:4318`, without user, query or fragment, or `env`"
                .to_owned()
        }
        Rule::None | Rule::Rate => describe_kind(kind),
    }
}

fn wrong(expected: String, input: Input<'_>) -> Problem {
    Problem::Value {
        expected,
        given: input.shown(),
        nearest: None,
    }
}

fn size(input: Input<'_>) -> Result<Value, Problem> {
    let bytes = match input {
        Input::Text(text) => units::parse_size(text),
        Input::Json(Value::String(text)) => units::parse_size(text),
        Input::Json(Value::Number(number)) => units::parse_size(&number.to_string()),
        _ => None,
    };
    bytes
        .map(|bytes| units::show_size(bytes).into())
        .ok_or_else(|| wrong(describe(&FieldKind::String, Rule::Size), input))
}

/// A share from 0 to 1. A number beyond gets the words that TaPS has for it.
fn rate(input: Input<'_>) -> Result<Value, Problem> {
    let (min, max) = (Some(0.0), Some(1.0));
    if let Some(rate) = float(input, min, max) {
        return Ok(rate);
    }
    match float(input, None, None) {
        Some(number) => Err(Problem::Rate {
            given: number.to_string(),
        }),
        None => Err(wrong(describe_kind(&FieldKind::Float { min, max }), input)),
    }
}

/// Outcomes by their own names, with numbers in range.
fn retries_for(table: &Map<String, Value>) -> Result<Value, Problem> {
    let mut kept = Map::new();
    for (name, number) in table {
        let Some(outcome) = RETRIED.iter().find(|outcome| same_word(outcome, name)) else {
            return Err(Problem::Value {
                expected: format!("outcomes that can be tried again ({})", RETRIED.join(", ")),
                given: quoted(name),
                nearest: suggest::nearest(name, RETRIED),
            });
        };
        let Some(number) = integer(Input::Json(number), Some(0), Some(MOST_RETRIES)) else {
            let expected = format!("a whole number from 0 to {MOST_RETRIES} for `{outcome}`");
            return Err(wrong(expected, Input::Json(number)));
        };
        kept.insert((*outcome).to_owned(), number);
    }
    Ok(Value::Object(kept))
}

fn log_level(input: Input<'_>) -> Result<Value, Problem> {
    let text = match input {
        Input::Text(text) => (*text).to_owned(),
        Input::Json(Value::String(text)) => text.clone(),
        Input::Json(value) => value.to_string(),
        Input::Texts(_) => String::new(),
    };
    if let Ok(number) = text.parse::<u8>() {
        return Ok(number.into());
    }
    LogLevel::from_name(&text)
        .and_then(|level| LogLevel::NAMED.iter().find(|(_, named)| *named == level))
        .map(|(name, _)| (*name).into())
        .ok_or_else(|| Problem::Value {
            expected: describe(&FieldKind::String, Rule::LogLevel),
            given: input.shown(),
            nearest: suggest::nearest(&text, LogLevel::NAMED.map(|(name, _)| name)),
        })
}

/// Whether this says where a collector is. What would be in every record of the run is no secret: there is
/// no place for one.
fn is_collector(address: &str) -> bool {
    let Ok(url) = url::Url::parse(address) else {
        return address == "env";
    };
    matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
}

fn check_rule(rule: Rule, value: Value) -> Result<Value, Problem> {
    /// Files that a run directory has, or may have.
    const OWN_FILES: [&str; 5] = [
        "config.toml",
        "environment.json",
        "events.log",
        "stats.jsonl",
        "aggregated.json",
    ];
    let refused = |value: &Value| wrong(describe(&FieldKind::String, rule), Input::Json(value));
    match (rule, &value) {
        (Rule::FileName, Value::String(name)) => {
            if OWN_FILES.contains(&name.as_str()) {
                return Err(Problem::NameTaken {
                    given: quoted(name),
                });
            }
            let fits = !name.is_empty() && name.len() <= 255 && name != "." && name != "..";
            if !fits || name.contains(['/', '\0']) || name.contains(char::is_control) {
                return Err(refused(&value));
            }
        }
        (Rule::DirFormat, Value::String(pattern)) => {
            DirFormat::parse(pattern).map_err(|reason| Problem::DirFormat {
                given: quoted(pattern),
                reason,
            })?;
        }
        (Rule::RetriesFor, Value::Object(table)) => return retries_for(table),
        (Rule::Collector, Value::String(address)) if !is_collector(address) => {
            return Err(refused(&value));
        }
        (Rule::TextTable, Value::Object(variables)) => {
            let valid = variables.iter().all(|(name, value)| {
                let text = value.as_str();
                !name.is_empty()
                    && !name.contains(['=', '\0'])
                    && text.is_some_and(|text| !text.contains('\0'))
            });
            if !valid {
                return Err(refused(&value));
            }
        }
        _ => {}
    }
    Ok(value)
}

/// What paths of values lead to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paths<'a> {
    /// Where relative ones start.
    pub(crate) start_dir: &'a Path,
    /// Names of the data of the app's bundle; none for fields that are not the app's.
    pub(crate) data: Option<&'a [String]>,
}

/// Converts values by kind.
struct Target<'a> {
    paths: Paths<'a>,
}

impl Target<'_> {
    fn convert(&self, kind: &FieldKind, input: Input<'_>) -> Result<Value, Problem> {
        let value = match kind {
            FieldKind::Bool => boolean(input),
            FieldKind::Integer { min, max } => integer(input, *min, *max),
            FieldKind::Float { min, max } => float(input, *min, *max),
            FieldKind::String => text(input).map(Value::from),
            FieldKind::Enum { values } => return word(input, values, kind),
            FieldKind::List { item } => return self.list(input, item, kind),
            FieldKind::Table => return table(input, kind),
            FieldKind::InputFile | FieldKind::InputDir | FieldKind::OutputDir => {
                return self.path(kind, input);
            }
        };
        value.ok_or_else(|| wrong(describe_kind(kind), input))
    }

    fn path(&self, kind: &FieldKind, input: Input<'_>) -> Result<Value, Problem> {
        let refused = || wrong(describe_kind(kind), input);
        let text = text(input).ok_or_else(refused)?;
        if text.is_empty() || text.contains('\0') {
            return Err(refused());
        }
        if *kind == FieldKind::OutputDir && Path::new(text).starts_with(paths::RUN_DIR) {
            // Made when the run begins; an app's default leads nowhere else.
            let leaves = |part| matches!(part, Component::ParentDir);
            return if Path::new(text).components().any(leaves) {
                Err(refused())
            } else {
                Ok(text.into())
            };
        }
        if let Some(names) = self.paths.data
            && let Some(name) = text.strip_prefix(paths::BUNDLE_DATA)
        {
            return bundle_data(kind, name, names, input);
        }
        let path = paths::absolute(text, self.paths.start_dir);
        paths::check(kind, &path)?;
        path.to_str().map(Value::from).ok_or(Problem::NotUtf8)
    }

    fn list(&self, input: Input<'_>, item: &FieldKind, kind: &FieldKind) -> Result<Value, Problem> {
        let mut items = Vec::new();
        match input {
            Input::Json(Value::Array(values)) => {
                for value in values {
                    items.push(self.convert(item, Input::Json(value))?);
                }
            }
            Input::Json(_) => return Err(wrong(describe_kind(kind), input)),
            Input::Text(text) => self.list_text(text, item, kind, &mut items)?,
            Input::Texts(texts) => {
                for text in texts {
                    self.list_text(text, item, kind, &mut items)?;
                }
            }
        }
        Ok(Value::Array(items))
    }

    /// One text of a flag: a JSON list, words with commas where no item can hold one, or an item.
    fn list_text(
        &self,
        text: &str,
        item: &FieldKind,
        kind: &FieldKind,
        items: &mut Vec<Value>,
    ) -> Result<(), Problem> {
        let simple = matches!(
            item,
            FieldKind::Bool
                | FieldKind::Integer { .. }
                | FieldKind::Float { .. }
                | FieldKind::Enum { .. }
        );
        if text.trim_start().starts_with('[') {
            let Ok(Value::Array(values)) = serde_json::from_str(text) else {
                return Err(wrong(describe_kind(kind), Input::Text(text)));
            };
            for value in &values {
                items.push(self.convert(item, Input::Json(value))?);
            }
        } else if simple && text.contains(',') {
            for part in text.split(',') {
                items.push(self.convert(item, Input::Text(part.trim()))?);
            }
        } else {
            items.push(self.convert(item, Input::Text(text))?);
        }
        Ok(())
    }
}

/// A value that stands for data of the bundle: one file for a file, all below a prefix for a directory.
fn bundle_data(
    kind: &FieldKind,
    name: &str,
    names: &[String],
    input: Input<'_>,
) -> Result<Value, Problem> {
    let known = match kind {
        FieldKind::InputFile => names.to_vec(),
        FieldKind::InputDir => prefixes(names),
        // Nobody writes to a bundle.
        _ => Vec::new(),
    };
    let written = |name: &str| format!("{}{name}", paths::BUNDLE_DATA);
    if known.iter().any(|known| known == name) {
        return Ok(written(name).into());
    }
    let listed: Vec<String> = known.iter().map(|name| written(name)).collect();
    let expected = match listed.as_slice() {
        [] => format!(
            "{} of this machine (the bundle has no data for this field)",
            describe_kind(kind)
        ),
        listed => format!("data of the bundle ({})", listed.join(", ")),
    };
    Err(Problem::Value {
        expected,
        given: input.shown(),
        nearest: suggest::nearest(&written(name), listed.iter().map(String::as_str)),
    })
}

/// Every directory above a name, with its `/`; the empty one stands for all data.
fn prefixes(names: &[String]) -> Vec<String> {
    let mut prefixes: Vec<String> = names
        .iter()
        .flat_map(|name| {
            let ends = name.match_indices('/').map(|(at, _)| at + 1);
            std::iter::once(0)
                .chain(ends)
                .map(|end| name[..end].to_owned())
        })
        .map(|prefix| {
            if prefix.is_empty() {
                "/".to_owned()
            } else {
                prefix
            }
        })
        .collect();
    prefixes.sort();
    prefixes.dedup();
    prefixes
}

fn text(input: Input<'_>) -> Option<&str> {
    match input {
        Input::Text(text) => Some(text),
        Input::Json(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn boolean(input: Input<'_>) -> Option<Value> {
    match input {
        Input::Json(Value::Bool(value)) => Some((*value).into()),
        Input::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" => Some(true.into()),
            "false" => Some(false.into()),
            _ => None,
        },
        _ => None,
    }
}

fn integer(input: Input<'_>, min: Option<i64>, max: Option<i64>) -> Option<Value> {
    let number = match input {
        Input::Json(value) => value.as_i64(),
        Input::Text(text) => text.trim().parse().ok(),
        Input::Texts(_) => None,
    }?;
    let fits = min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max);
    fits.then(|| number.into())
}

fn float(input: Input<'_>, min: Option<f64>, max: Option<f64>) -> Option<Value> {
    let number = match input {
        Input::Json(value) => value.as_f64(),
        Input::Text(text) => text.trim().parse::<f64>().ok(),
        Input::Texts(_) => None,
    }?;
    let fits = min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max);
    let number = fits.then(|| serde_json::Number::from_f64(number))??;
    Some(Value::Number(number))
}

fn word(input: Input<'_>, values: &[String], kind: &FieldKind) -> Result<Value, Problem> {
    let given = text(input).ok_or_else(|| wrong(describe_kind(kind), input))?;
    match values.iter().find(|value| same_word(value, given)) {
        Some(value) => Ok(value.as_str().into()),
        None => Err(Problem::Value {
            expected: describe_kind(kind),
            given: input.shown(),
            nearest: suggest::nearest(given, values.iter().map(String::as_str)),
        }),
    }
}

fn table(input: Input<'_>, kind: &FieldKind) -> Result<Value, Problem> {
    let parsed;
    let object = match input {
        Input::Json(value) => value,
        Input::Text(text) => {
            parsed = serde_json::from_str(text).unwrap_or(Value::Null);
            &parsed
        }
        Input::Texts(_) => &Value::Null,
    };
    match object {
        Value::Object(_) => storable(object),
        _ => Err(wrong(describe_kind(kind), input)),
    }
}

/// A value as TOML can hold it: null becomes the word `none`, numbers must fit.
fn storable(value: &Value) -> Result<Value, Problem> {
    Ok(match value {
        Value::Null => "none".into(),
        Value::Number(number) if number.is_u64() && number.as_i64().is_none() => {
            return Err(Problem::Number {
                given: number.to_string(),
            });
        }
        Value::Array(items) => Value::Array(items.iter().map(storable).collect::<Result<_, _>>()?),
        Value::Object(object) => {
            let mut stored = Map::new();
            for (key, value) in object {
                stored.insert(key.clone(), storable(value)?);
            }
            Value::Object(stored)
        }
        other => other.clone(),
    })
}
