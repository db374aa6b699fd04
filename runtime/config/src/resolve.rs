//! From arguments and files to a checked configuration.

use crate::arguments::{Arguments, Switches, is_app_path};
use crate::error::{ConfigError, ConfigErrors, Place, Problem};
use crate::fields::{Rule, general_sections};
use crate::general::General;
use crate::known::{Known, flag, join, split};
use crate::layers::{self, Choice, Raw, Setting, Slot, quoted, same_word};
use crate::merge::merge_tables;
use crate::resolved::{Resolved, grants};
use crate::schema::{PluginSchema, Schema};
use crate::value::{self, Input};
use crate::{file, paths, suggest};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use taps_schema::{AppDescription, ConfigField, FieldKind};

/// The version that `config.toml` carries.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Resolves the arguments of `run`, in layers default < files in order < flags. Relative paths,
/// also those within files, start at `start_dir`, which must be absolute.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn resolve(
    args: &[OsString],
    schema: &Schema,
    start_dir: &Path,
) -> Result<Resolved, ConfigErrors> {
    let arguments = Arguments::parse(args);
    let files = arguments.configs.clone();
    let switches = arguments.switches;
    let mut resolver = Resolver {
        schema,
        start_dir,
        settings: Vec::new(),
        errors: Vec::new(),
        notices: Vec::new(),
        known: Vec::new(),
        unchecked: Vec::new(),
        incomplete: false,
    };
    resolver.load(arguments);
    resolver.version();
    let app = resolver.app();
    let executor = resolver.plugin(
        Slot::Executor,
        &schema.executors,
        Some(Schema::DEFAULT_EXECUTOR),
    );
    let filter = resolver.plugin(Slot::Filter, &schema.filters, None);
    let transformer = resolver.plugin(Slot::Transformer, &schema.transformers, None);
    resolver.general();
    resolver.unknown_keys();
    let values = resolver.values();
    resolver.across(&values);

    let Resolver {
        mut errors,
        notices,
        settings,
        ..
    } = resolver;
    let places = settings
        .into_iter()
        .map(|setting| (setting.key.join("."), setting.place));
    // Without errors there is an app and an executor.
    let (Some(app), Some(executor), true) = (app, executor, errors.is_empty()) else {
        sort(&mut errors, &files);
        return Err(ConfigErrors(errors));
    };
    let mut resolved = assemble(
        &values,
        app,
        executor,
        filter.map(|filter| filter.name.clone()),
        transformer.map(|transformer| transformer.name.clone()),
    );
    resolved.switches = switches;
    resolved.notices = notices;
    resolved.places = places.collect();
    Ok(resolved)
}

/// The result, of values that are all valid.
fn assemble(
    values: &Values,
    app: ChosenApp<'_>,
    executor: &PluginSchema,
    filter: Option<String>,
    transformer: Option<String>,
) -> Resolved {
    let section = |name: &str| -> Map<String, Value> {
        let fields = values.get(name).into_iter().flatten();
        fields.cloned().collect()
    };
    let app_config = section("app");
    let by_name: BTreeMap<&str, Map<String, Value>> = general_sections()
        .iter()
        .map(|general| (general.name, section(general.name)))
        .collect();
    Resolved {
        grants: grants(app.description, &app_config),
        app: app.description.name.clone(),
        app_config,
        executor: executor.name.clone(),
        executor_config: section(Slot::Executor.section()),
        filter_config: section(Slot::Filter.section()),
        transformer_config: section(Slot::Transformer.section()),
        general: General::from_sections(&by_name),
        switches: Switches::default(),
        notices: Vec::new(),
        places: BTreeMap::new(),
        document: document(
            values,
            &app.stored_name,
            &executor.name,
            filter.as_deref(),
            transformer.as_deref(),
        ),
        app_path: app.path,
        app_written: app.written,
        filter,
        transformer,
    }
}

/// Files first, in order and by line, then arguments in the order found.
fn sort(errors: &mut [ConfigError], files: &[String]) {
    errors.sort_by_key(|error| match &error.place {
        Place::File { file, line, .. } => {
            let index = files.iter().position(|name| name == file);
            (index.unwrap_or(files.len()), line.unwrap_or(0))
        }
        _ => (files.len() + 1, 0),
    });
}

type Values = BTreeMap<String, Vec<(String, Value)>>;

/// The sections in the order in which they are written.
fn document(
    values: &Values,
    app: &str,
    executor: &str,
    filter: Option<&str>,
    transformer: Option<&str>,
) -> Vec<(String, Vec<(String, Value)>)> {
    let section = |name: &str, plugin: Option<&str>| {
        let chosen = plugin.map(|plugin| ("name".to_owned(), plugin.into()));
        let fields = values.get(name).into_iter().flatten().cloned();
        (name.to_owned(), chosen.into_iter().chain(fields).collect())
    };
    vec![
        (String::new(), vec![("version".to_owned(), VERSION.into())]),
        section("app", Some(app)),
        section("engine", None),
        section("engine.payload", None),
        section("engine.executor", Some(executor)),
        section("engine.filter", Some(filter.unwrap_or("none"))),
        section("engine.transformer", Some(transformer.unwrap_or("none"))),
        section("logging", None),
        section("run", None),
    ]
}

/// The app that was chosen.
struct ChosenApp<'a> {
    description: &'a AppDescription,
    /// Name in `config.toml`: for a bundle, its absolute path.
    stored_name: String,
    path: Option<PathBuf>,
    written: Option<String>,
}

struct Resolver<'a> {
    schema: &'a Schema,
    start_dir: &'a Path,
    settings: Vec<Setting>,
    errors: Vec<ConfigError>,
    notices: Vec<String>,
    known: Vec<Known<'a>>,
    /// Slots whose fields cannot be checked, because the plugin's name is already wrong.
    unchecked: Vec<Slot>,
    /// A file could not be used, or the app is not clear: do not complain of missing values.
    incomplete: bool,
}

impl<'a> Resolver<'a> {
    fn error(&mut self, place: Place, problem: Problem) {
        self.errors.push(ConfigError::new(place, problem));
    }

    /// Reads the files and the flags into one list, lowest layer first.
    fn load(&mut self, arguments: Arguments) {
        let apps: Vec<&str> = self
            .schema
            .apps
            .iter()
            .map(|app| app.name.as_str())
            .collect();
        for (layer, name) in arguments.configs.iter().enumerate() {
            let loaded = file::load(name, self.start_dir, layer, &apps);
            self.settings.extend(loaded.settings);
            self.errors.extend(loaded.errors);
            self.incomplete |= loaded.failed;
        }
        let layer = arguments.configs.len();
        self.errors.extend(arguments.errors);
        let flags = arguments.settings.into_iter();
        let start = self.settings.len();
        self.settings
            .extend(flags.map(|setting| Setting { layer, ..setting }));

        let app = Slot::App.path();
        let named: Vec<(String, Place)> = self.settings[start..]
            .iter()
            .filter(|setting| setting.key == app)
            .filter_map(|setting| Some((setting.raw.text()?.to_owned(), setting.place.clone())))
            .collect();
        for pair in named.windows(2) {
            if !same_word(&pair[0].0, &pair[1].0) {
                let (first, second) = (pair[0].0.clone(), pair[1].0.clone());
                self.error(pair[1].1.clone(), Problem::TwoApps { first, second });
                // Which fields are required is anybody's guess now.
                self.incomplete = true;
            }
        }
    }

    /// The version in a file is only compared.
    fn version(&mut self) {
        let (versions, rest) =
            std::mem::take(&mut self.settings)
                .into_iter()
                .partition(|setting| {
                    setting.key == ["version"] && matches!(setting.place, Place::File { .. })
                });
        self.settings = rest;
        for setting in versions {
            match setting.raw.text() {
                Some(VERSION) => {}
                Some(version) => self.notices.push(format!(
                    "{}: written by version {}; this is {VERSION}",
                    setting.place,
                    quoted(version)
                )),
                None => self.error(setting.place, not_text("a version", &setting.raw)),
            }
        }
    }

    fn choose(&mut self, slot: Slot) -> Option<Choice> {
        let mut invalid = Vec::new();
        let choice = layers::choose(slot, &mut self.settings, &mut self.notices, |setting| {
            invalid.push(setting);
        });
        for setting in invalid {
            let expected = format!("the name of {} {}", article(slot.what()), slot.what());
            self.error(setting.place, not_text(&expected, &setting.raw));
            self.unchecked.push(slot);
        }
        choice
    }

    fn app(&mut self) -> Option<ChosenApp<'a>> {
        let schema = self.schema;
        let available: Vec<String> = schema.apps.iter().map(|app| app.name.clone()).collect();
        let Some(Choice { name, place }) = self.choose(Slot::App) else {
            if !self.incomplete && !self.unchecked.contains(&Slot::App) {
                let place = Place::Flag("--app".to_owned());
                self.error(place, Problem::NoApp { available });
            }
            self.unchecked.push(Slot::App);
            return None;
        };
        let chosen = if is_app_path(&name) {
            let found = schema.bundles.iter().find(|(written, _)| *written == name);
            let path = paths::absolute(&name, self.start_dir);
            match (found, path.to_str()) {
                (Some((_, description)), Some(stored)) => Ok(ChosenApp {
                    description,
                    stored_name: stored.to_owned(),
                    path: Some(path),
                    written: Some(name),
                }),
                (Some(_), None) => Err(Problem::NotUtf8),
                (None, _) => Err(Problem::NotLoaded { path: name }),
            }
        } else {
            match schema.apps.iter().find(|app| same_word(&app.name, &name)) {
                Some(description) => Ok(ChosenApp {
                    description,
                    stored_name: description.name.clone(),
                    path: None,
                    written: None,
                }),
                None => Err(Problem::UnknownPlugin {
                    what: Slot::App.what(),
                    nearest: suggest::nearest(&name, available.iter().map(String::as_str)),
                    name,
                    available,
                }),
            }
        };
        match chosen {
            Ok(app) => {
                if !app.description.driver {
                    let name = app.description.name.clone();
                    self.error(place, Problem::NoDriver { name });
                }
                self.fields(Slot::App, &app.description.name, &app.description.config);
                Some(app)
            }
            Err(problem) => {
                self.error(place, problem);
                self.unchecked.push(Slot::App);
                None
            }
        }
    }

    /// The chosen plugin of a slot; `None` when there is none or its name is wrong.
    fn plugin(
        &mut self,
        slot: Slot,
        available: &'a [PluginSchema],
        default: Option<&str>,
    ) -> Option<&'a PluginSchema> {
        let choice = self.choose(slot);
        let name = choice
            .as_ref()
            .map(|choice| choice.name.as_str())
            .or(default)?;
        if default.is_none() && value::is_none_word(name) {
            return None;
        }
        if let Some(plugin) = available
            .iter()
            .find(|plugin| same_word(&plugin.name, name))
        {
            self.fields(slot, &plugin.name, &plugin.fields);
            return Some(plugin);
        }
        let mut names: Vec<String> = available.iter().map(|plugin| plugin.name.clone()).collect();
        if default.is_none() {
            names.insert(0, "none".to_owned());
        }
        let problem = Problem::UnknownPlugin {
            what: slot.what(),
            name: name.to_owned(),
            nearest: suggest::nearest(name, names.iter().map(String::as_str)),
            available: names,
        };
        let place = choice.map_or(Place::Flag(format!("--{}", slot.what())), |choice| {
            choice.place
        });
        self.error(place, problem);
        self.unchecked.push(slot);
        None
    }

    fn fields(&mut self, slot: Slot, owner: &str, fields: &'a [ConfigField]) {
        self.known.extend(fields.iter().map(|field| Known {
            section: slot.section().to_owned(),
            path: join(slot.section(), &field.name),
            field,
            rule: Rule::None,
            owner: Some((slot.what(), owner.to_owned())),
        }));
    }

    fn general(&mut self) {
        for section in general_sections() {
            self.known
                .extend(section.fields.iter().map(|general| Known {
                    section: section.name.to_owned(),
                    path: join(section.name, &general.field.name),
                    field: &general.field,
                    rule: general.rule,
                    owner: None,
                }));
        }
    }

    /// Reports every key that no chosen app, plugin or section has.
    fn unknown_keys(&mut self) {
        let settings = std::mem::take(&mut self.settings);
        for setting in &settings {
            let known = self.known.iter().any(|known| known.takes(setting));
            let slot = Slot::ALL
                .into_iter()
                .find(|slot| setting.key.starts_with(&slot.path()));
            if known || slot.is_some_and(|slot| self.unchecked.contains(&slot)) {
                continue;
            }
            let problem = match slot {
                Some(slot @ (Slot::Filter | Slot::Transformer))
                    if !self
                        .known
                        .iter()
                        .any(|known| known.section == slot.section()) =>
                {
                    Problem::NothingChosen { what: slot.what() }
                }
                _ => self.unknown(setting),
            };
            self.error(setting.place.clone(), problem);
        }
        self.settings = settings;
    }

    fn unknown(&self, setting: &Setting) -> Problem {
        let nearest = self.nearest(&setting.key);
        match &setting.place {
            Place::File { .. } => Problem::UnknownKey { nearest },
            _ => Problem::UnknownFlag {
                nearest: nearest
                    .or_else(|| nearest_short_flag(&setting.key))
                    .map(|key| format!("--{}", key.replace('_', "-"))),
            },
        }
    }

    /// The nearest known key: a sibling first, then the same word elsewhere, then any.
    fn nearest(&self, key: &[String]) -> Option<String> {
        let (last, parent) = key.split_last()?;
        let mut paths: Vec<Vec<String>> = self.known.iter().map(|k| k.path.clone()).collect();
        paths.extend(Slot::ALL.map(Slot::path));
        paths.push(split("version"));
        paths.extend(general_sections().iter().map(|section| split(section.name)));
        let siblings = paths
            .iter()
            .filter(|path| path.len() == key.len() && path.starts_with(parent))
            .filter_map(|path| path.last());
        if let Some(sibling) = suggest::nearest(last, siblings.map(String::as_str)) {
            return Some([parent, &[sibling]].concat().join("."));
        }
        let elsewhere = paths
            .iter()
            .find(|path| path.last().is_some_and(|name| same_word(name, last)));
        if let Some(path) = elsewhere {
            return Some(path.join("."));
        }
        let dotted: Vec<String> = paths.iter().map(|path| path.join(".")).collect();
        suggest::nearest(&key.join("."), dotted.iter().map(String::as_str))
    }

    /// The value of every known field, by section.
    fn values(&mut self) -> Values {
        let mut values = Values::new();
        for known in std::mem::take(&mut self.known) {
            if let Some(value) = self.value(&known) {
                let section = values.entry(known.section.clone()).or_default();
                section.push((known.field.name.clone(), value));
            }
            self.known.push(known);
        }
        values
    }

    fn value(&mut self, known: &Known<'_>) -> Option<Value> {
        let settings: Vec<&Setting> = self
            .settings
            .iter()
            .filter(|setting| known.takes(setting))
            .collect();
        let field = known.field;
        let many = matches!(field.kind, FieldKind::List { .. } | FieldKind::Table);
        if let [.., before, last] = settings.as_slice()
            && !many
            && before.layer == last.layer
        {
            let shown = last.raw.shown();
            let notice = format!("{}: given more than once; {shown} counts", last.place);
            self.notices.push(notice);
        }
        let place = match settings.last() {
            Some(last) => last.place.clone(),
            None => known.flag(),
        };
        let result = if settings.is_empty() {
            match &field.default {
                Some(default) => self.convert(known, Input::Json(default)),
                None if field.optional => Ok(Value::Null),
                None if self.incomplete => return None,
                None => Err(known.missing()),
            }
        } else if matches!(field.kind, FieldKind::Table) {
            merge_tables(known, &settings)
                .and_then(|merged| self.convert(known, Input::Json(&merged)))
        } else {
            self.last_layer(known, &settings)
        };
        match result {
            Ok(value) => Some(value),
            Err(problem) => {
                self.error(place, problem);
                None
            }
        }
    }

    fn convert(&self, known: &Known<'_>, input: Input<'_>) -> Result<Value, Problem> {
        value::convert(known.field, known.rule, input, self.start_dir)
    }

    /// The value of a field that is not a table: the last layer's. A flag given again adds to a
    /// list and replaces anything else.
    fn last_layer(&self, known: &Known<'_>, settings: &[&Setting]) -> Result<Value, Problem> {
        let Some(last) = settings.last() else {
            return Ok(Value::Null);
        };
        let texts: Vec<&str> = settings
            .iter()
            .filter(|setting| setting.layer == last.layer)
            .filter_map(|setting| match &setting.raw {
                Raw::Text(text) => Some(text.as_str()),
                Raw::Value(_) => None,
            })
            .collect();
        match (&last.raw, &known.field.kind) {
            (Raw::Value(value), _) => self.convert(known, Input::Json(value)),
            (Raw::Text(_), FieldKind::List { .. }) => self.convert(known, Input::Texts(&texts)),
            (Raw::Text(text), _) => self.convert(known, Input::Text(text)),
        }
    }

    /// Checks that hold between values.
    fn across(&mut self, values: &Values) {
        let find = |section: &str, key: &str| {
            let fields = values.get(section)?;
            fields
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value)
        };
        let inline = find("engine.payload", "inline_max_bytes").and_then(Value::as_u64);
        let map = find("engine.payload", "map_min_bytes").and_then(Value::as_u64);
        if let (Some(inline), Some(map)) = (inline, map)
            && inline > map
        {
            let other = "engine.payload.map_min_bytes";
            let limit = map.to_string();
            let place = self.place_of("engine.payload.inline_max_bytes");
            self.error(place, Problem::AboveOther { other, limit });
        }
        let records = find("engine", "task_record_file_name").and_then(Value::as_str);
        let log = find("logging", "file_name").and_then(Value::as_str);
        if let (Some(records), Some(log)) = (records, log)
            && records == log
        {
            let place = self.place_of("logging.file_name");
            let given = quoted(log);
            self.error(place, Problem::NameTaken { given });
        }
    }

    /// Where a key was last set, or the flag that would set it.
    fn place_of(&self, dotted: &str) -> Place {
        let path = split(dotted);
        let setting = self
            .settings
            .iter()
            .rev()
            .find(|setting| setting.key == path);
        setting.map_or_else(|| flag(dotted), |setting| setting.place.clone())
    }
}

fn not_text(expected: &str, raw: &Raw) -> Problem {
    Problem::Value {
        expected: expected.to_owned(),
        given: raw.shown(),
        nearest: None,
    }
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    }
}

/// The nearest of the flags without a dot.
fn nearest_short_flag(key: &[String]) -> Option<String> {
    const SWITCHES: [&str; 6] = ["config", "dry-run", "json", "quiet", "no-progress", "help"];
    let [word] = key else { return None };
    let fields = general_sections()
        .iter()
        .flat_map(|section| &section.fields);
    let aliases = fields.filter_map(|general| general.alias);
    suggest::nearest(word, aliases.chain(SWITCHES))
}
