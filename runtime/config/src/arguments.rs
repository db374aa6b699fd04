//! The command line of `run` as it is written, before any schema is known.

use crate::error::{ConfigError, Place, Problem};
use crate::failures;
use crate::fields::general_sections;
use crate::file;
use crate::known::join;
use crate::layers::{Raw, Setting, Slot};
use crate::schema::SHORT_FIELDS;
use crate::value::is_none_word;
use std::ffi::OsString;
use std::path::Path;

/// How the command shows itself; no part of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, read by name"
)]
pub struct Switches {
    /// `-h`, `--help`.
    pub help: bool,
    /// `--json`.
    pub json: bool,
    /// `--dry-run`.
    pub dry_run: bool,
    /// `-q`, `--quiet`.
    pub quiet: bool,
    /// `--no-progress`.
    pub no_progress: bool,
    /// `--allow`: the bundle may do what it asks for; remembered for its digest.
    pub allow: bool,
    /// `--locked`: only bundles that are built in, signed by a known key, or allowed before.
    pub locked: bool,
}

/// What the arguments say before a schema is known. Problems are left to
/// [`resolve`](crate::resolve), which reports them all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// The app that the last layer names, exactly as written: a name, or a path when
    /// [`is_app_path`] says so.
    pub app: Option<String>,
    /// The app that the last layer names as the base of `failures`, as written, when the app is that.
    pub base: Option<String>,
    /// The executor that the last layer names, as written.
    pub executor: Option<String>,
    /// The filter that the last layer names, as written.
    pub filter: Option<String>,
    /// The transformer that the last layer names, as written.
    pub transformer: Option<String>,
    /// Digest of the bundle that the file names which names the app; none when a later layer names one.
    pub bundle: Option<String>,
    /// Files of public keys that signatures may be of, besides those of the user: `--key`.
    pub keys: Vec<String>,
    /// Programs that the last layer allows by name.
    pub programs: Vec<String>,
    /// Switches.
    pub switches: Switches,
}

/// Whether an app is named by the path of a bundle, a directory or a component, or by where it is in a
/// registry: by anything but its name.
pub fn is_app_path(app: &str) -> bool {
    app.contains('/')
        || app == "."
        || app == ".."
        || has_extension(app, "taps")
        || has_extension(app, "wasm")
}

/// Whether the name of a file ends so, in whatever case.
pub fn has_extension(name: impl AsRef<Path>, extension: &str) -> bool {
    name.as_ref()
        .extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

/// First pass over the arguments of `run` (and the config files they name, relative to
/// `start_dir`): enough to load the app and then to build the schema for the second.
pub fn preview(args: &[OsString], start_dir: &Path) -> Preview {
    let arguments = Arguments::parse(args);
    let mut settings = Vec::new();
    let flags = arguments.configs.len();
    for (layer, config) in arguments.configs.iter().enumerate() {
        let loaded = file::load(config, start_dir, layer, &[]);
        settings.extend(loaded.settings);
    }
    let given = arguments.settings.into_iter();
    settings.extend(given.map(|setting| Setting {
        layer: flags,
        ..setting
    }));
    let text_at = |path: Vec<String>| {
        let last = settings.iter().rev().find(|setting| setting.key == path);
        last.and_then(|setting| setting.raw.text().map(str::to_owned))
    };
    let app = text_at(Slot::App.path());
    let base = app.as_deref().filter(|app| failures::is_meant(app));
    Preview {
        base: base.and_then(|_| text_at(failures::base_path())),
        app,
        executor: text_at(Slot::Executor.path()),
        filter: text_at(Slot::Filter.path()),
        transformer: text_at(Slot::Transformer.path()),
        bundle: pinned(&settings),
        keys: arguments.keys,
        programs: programs(&settings),
        switches: arguments.switches,
    }
}

/// The digest that the file says in which the app is named last.
fn pinned(settings: &[Setting]) -> Option<String> {
    let names = [Slot::App.path(), failures::base_path()];
    let layer = settings
        .iter()
        .filter(|setting| names.contains(&setting.key))
        .map(|setting| setting.layer)
        .max()?;
    let mut pins = settings
        .iter()
        .filter(|setting| setting.layer == layer && is_pin(setting));
    pins.next_back()?.raw.text().map(str::to_owned)
}

/// Whether a file says which bundle its app is.
pub(crate) fn is_pin(setting: &Setting) -> bool {
    setting.key == ["bundle"] && matches!(setting.place, Place::File { .. })
}

/// The programs that the last layer allows.
fn programs(settings: &[Setting]) -> Vec<String> {
    let allowed = settings
        .iter()
        .rev()
        .find(|setting| setting.key == ["programs", "allow"]);
    let split = |text: &str| {
        let names = text.split(',').map(|name| name.trim().to_owned());
        names.filter(|name| !name.is_empty()).collect()
    };
    match allowed.map(|setting| &setting.raw) {
        Some(Raw::Text(text)) => split(text),
        Some(Raw::Value(serde_json::Value::Array(names))) => names
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
        Some(Raw::Value(value)) => value.as_str().map(split).unwrap_or_default(),
        None => Vec::new(),
    }
}

/// The command line, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    /// Config files in order.
    pub(crate) configs: Vec<String>,
    /// Values in order; the layer is filled in by the caller.
    pub(crate) settings: Vec<Setting>,
    pub(crate) switches: Switches,
    /// Files of public keys.
    pub(crate) keys: Vec<String>,
    pub(crate) errors: Vec<ConfigError>,
}

impl Arguments {
    pub(crate) fn parse(args: &[OsString]) -> Self {
        let mut parser = Parser {
            rest: args,
            found: Self::default(),
            app: None,
        };
        while let Some(argument) = parser.next() {
            if argument == "--" {
                while let Some(positional) = parser.next() {
                    parser.positional(positional);
                }
            } else if let Some(long) = argument.strip_prefix("--") {
                parser.long(&argument, long);
            } else if is_flag(&argument) {
                parser.short(&argument);
            } else {
                parser.positional(argument);
            }
        }
        parser.found
    }
}

/// Whether an argument is a flag rather than a value: negative numbers and `-` are values.
fn is_flag(argument: &str) -> bool {
    let mut characters = argument.chars();
    characters.next() == Some('-')
        && characters
            .next()
            .is_some_and(|second| !second.is_ascii_digit() && second != '.')
}

struct Parser<'a> {
    rest: &'a [OsString],
    found: Arguments,
    app: Option<String>,
}

impl Parser<'_> {
    /// The next argument that is UTF-8; others are reported and passed over.
    fn next(&mut self) -> Option<String> {
        while let Some((first, rest)) = self.rest.split_first() {
            self.rest = rest;
            if let Some(text) = first.to_str() {
                return Some(text.to_owned());
            }
            let shown = first.to_string_lossy().into_owned();
            self.error(Place::Argument(shown), Problem::NotUtf8);
        }
        None
    }

    /// The next argument if it can be the value of a flag.
    fn value(&mut self) -> Option<String> {
        let next = self.rest.first()?;
        if next.to_str().is_some_and(is_flag) {
            return None;
        }
        self.next()
    }

    /// The value of the setting that this flag is for. Where the flag may stand alone, what follows is its value
    /// only when it looks so.
    fn value_of(&mut self, name: &str) -> Option<String> {
        let Some(bare) = bare_value(name) else {
            return self.value();
        };
        let next = self.rest.first().and_then(|next| next.to_str());
        let is_value =
            |next: &str| is_none_word(next) || next.bytes().all(|digit| digit.is_ascii_digit());
        if next.is_some_and(|next| !next.is_empty() && is_value(next)) {
            return self.next();
        }
        Some(bare.to_owned())
    }

    fn error(&mut self, place: Place, problem: Problem) {
        self.found.errors.push(ConfigError::new(place, problem));
    }

    /// The app; or a file of configuration, as a run leaves one.
    fn positional(&mut self, argument: String) {
        if has_extension(&argument, "toml") {
            self.found.configs.push(argument);
            return;
        }
        if self.app.is_some() {
            self.error(Place::Argument(argument), Problem::Unexpected);
            return;
        }
        self.app = Some(argument.clone());
        self.found.settings.push(Setting {
            key: Slot::App.path(),
            raw: Raw::Text(argument.clone()),
            place: Place::Argument(argument),
            layer: 0,
            inside: Vec::new(),
        });
    }

    fn short(&mut self, argument: &str) {
        match argument {
            "-h" => self.found.switches.help = true,
            "-q" => self.found.switches.quiet = true,
            "-c" => self.configs("-c", None),
            _ => {
                if let Some(attached) = argument.strip_prefix("-c") {
                    let file = attached.strip_prefix('=').unwrap_or(attached);
                    self.configs("-c", Some(file.to_owned()));
                } else {
                    let place = Place::Flag(argument.to_owned());
                    self.error(place, Problem::UnknownFlag { nearest: None });
                }
            }
        }
    }

    fn long(&mut self, argument: &str, long: &str) {
        let (name, attached) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        let flag = argument.split('=').next().unwrap_or(argument).to_owned();
        let dashed = name.replace('_', "-");
        if let Some(switch) = self.switch(&dashed) {
            *switch = true;
            if attached.is_some() {
                self.error(Place::Flag(flag), Problem::TakesNoValue);
            }
        } else if dashed == "config" {
            self.configs(&flag, attached);
        } else if dashed == "key" {
            match attached.or_else(|| self.value()) {
                Some(file) => self.found.keys.push(file),
                None => self.error(Place::Flag(flag.clone()), Problem::NoValue { flag }),
            }
        } else if let Some(value) = attached.or_else(|| self.value_of(name)) {
            self.found.settings.push(Setting {
                key: canonical_key(name),
                raw: Raw::Text(value),
                place: Place::Flag(flag),
                layer: 0,
                inside: Vec::new(),
            });
        } else {
            self.error(Place::Flag(flag.clone()), Problem::NoValue { flag });
        }
    }

    fn switch(&mut self, name: &str) -> Option<&mut bool> {
        let switches = &mut self.found.switches;
        match name {
            "help" => Some(&mut switches.help),
            "json" => Some(&mut switches.json),
            "dry-run" => Some(&mut switches.dry_run),
            "quiet" => Some(&mut switches.quiet),
            "no-progress" => Some(&mut switches.no_progress),
            "allow" => Some(&mut switches.allow),
            "locked" => Some(&mut switches.locked),
            _ => None,
        }
    }

    /// `-c FILE [FILE …]`, or just the attached file.
    fn configs(&mut self, flag: &str, attached: Option<String>) {
        if let Some(file) = attached {
            self.found.configs.push(file);
            return;
        }
        let before = self.found.configs.len();
        while let Some(file) = self.value() {
            self.found.configs.push(file);
        }
        if self.found.configs.len() == before {
            let flag = flag.to_owned();
            self.error(Place::Flag(flag.clone()), Problem::NoValue { flag });
        }
    }
}

/// What the flag of that name means without a value, when it may be without.
fn bare_value(name: &str) -> Option<&'static str> {
    let key = canonical_key(name);
    let (field, section) = key.split_last()?;
    let section = section.join(".");
    let found = general_sections()
        .iter()
        .find(|known| known.name == section)?;
    let mut fields = found.fields.iter();
    fields.find(|general| general.field.name == *field)?.bare
}

/// The path in the tree that a flag's name stands for: aliases expanded, dashes as underscores
/// in the names of fields (but not in keys of tables below them).
fn canonical_key(name: &str) -> Vec<String> {
    let mut parts: Vec<String> = name.split('.').map(str::to_owned).collect();
    let underscored = |part: &String| part.replace('-', "_");
    let first = underscored(&parts[0]);
    for slot in [Slot::Executor, Slot::Filter, Slot::Transformer] {
        if first == slot.what() {
            parts.insert(0, "engine".to_owned());
        }
    }
    if parts.len() == 1 {
        if SHORT_FIELDS.contains(&first.as_str()) {
            return join(Slot::Executor.section(), &first);
        }
        for section in general_sections() {
            for general in &section.fields {
                let alias = general.alias.map(|alias| alias.replace('-', "_"));
                if alias.is_some_and(|alias| alias == first) {
                    let path = format!("{}.{}", section.name, general.field.name);
                    return path.split('.').map(str::to_owned).collect();
                }
            }
        }
    }
    let names = 1 + Slot::ALL
        .iter()
        .map(|slot| slot.path().len())
        .chain(general_sections().iter().map(|s| s.name.split('.').count()))
        .filter(|&depth| {
            let head: Vec<String> = parts.iter().take(depth).map(underscored).collect();
            is_section(&head)
        })
        .max()
        .unwrap_or(0);
    for part in parts.iter_mut().take(names) {
        *part = underscored(part);
    }
    if parts.len() == names && parts[names - 1] == "name" && Slot::at(&parts[..names - 1]).is_some()
    {
        parts.pop();
    }
    parts
}

fn is_section(path: &[String]) -> bool {
    Slot::at(path).is_some()
        || general_sections()
            .iter()
            .any(|section| section.name.split('.').eq(path.iter().map(String::as_str)))
}
