//! From arguments and files to a checked configuration.

mod across;
mod base;
mod faults;
mod names;

use crate::arguments::{Arguments, Switches, is_app_path, is_pin};
use crate::error::{ConfigError, ConfigErrors, Place, Problem};
use crate::failures;
use crate::fields::{Rule, general_sections};
use crate::general::General;
use crate::known::{Known, flag, join, split};
use crate::layers::{self, Choice, Raw, Setting, Slot, quoted, same_word};
use crate::merge::merge_tables;
use crate::resolved::{Resolved, grants};
use crate::schema::{PluginSchema, Schema};
use crate::value::{self, Input, Paths};
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
        base_of: None,
        chosen_by: None,
        strangers: Vec::new(),
        data: &[],
    };
    resolver.load(arguments);
    resolver.version();
    resolver.pin();
    let app = resolver.app();
    let default_executor = resolver.default_executor();
    let executor = resolver.plugin(Slot::Executor, &schema.executors, Some(default_executor));
    let filter = resolver.plugin(Slot::Filter, &schema.filters, None);
    let transformer = resolver.plugin(Slot::Transformer, &schema.transformers, None);
    resolver.general();
    resolver.unknown_keys();
    let mut values = resolver.values();
    resolver.across(&values);
    resolver.faults(&mut values, app.as_ref(), executor);
    resolver.tell_base(&values, app.as_ref());

    let Resolver {
        mut errors,
        notices,
        settings,
        base_of,
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
    resolved.is_base = base_of.is_some();
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
        is_base: false,
        document: document(
            values,
            &app,
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
    app: &ChosenApp<'_>,
    executor: &str,
    filter: Option<&str>,
    transformer: Option<&str>,
) -> Vec<(String, Vec<(String, Value)>)> {
    let section = |name: &str, plugin: Option<&str>| {
        let chosen = plugin.map(|plugin| ("name".to_owned(), plugin.into()));
        let fields = values.get(name).into_iter().flatten().cloned();
        (name.to_owned(), chosen.into_iter().chain(fields).collect())
    };
    let mut top = vec![("version".to_owned(), VERSION.into())];
    top.extend(
        app.digest
            .iter()
            .map(|digest| ("bundle".to_owned(), digest.as_str().into())),
    );
    vec![
        (String::new(), top),
        section("app", Some(&app.stored_name)),
        section("engine", None),
        section("engine.payload", None),
        section("engine.executor", Some(executor)),
        section("engine.filter", Some(filter.unwrap_or("none"))),
        section("engine.transformer", Some(transformer.unwrap_or("none"))),
        section("programs", None),
        section("faults", None),
        section("logging", None),
        section("live", None),
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
    /// Digest of its bundle, which `config.toml` names.
    digest: Option<String>,
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
    /// Where `failures` was named, when the app is the base of that.
    base_of: Option<Place>,
    /// The fault that chose the executor.
    chosen_by: Option<String>,
    /// Keys below `app` that `failures` does not have.
    strangers: Vec<Setting>,
    /// Names of the data of the app's bundle.
    data: &'a [String],
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

    /// The digest of a bundle in a file is for whoever loads the app.
    fn pin(&mut self) {
        let (pins, rest) = std::mem::take(&mut self.settings)
            .into_iter()
            .partition(is_pin);
        self.settings = rest;
        for pin in pins {
            let is_digest = pin.raw.text().is_some_and(|text| {
                let digits = text.strip_prefix("sha256:").unwrap_or_default();
                digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
            });
            if !is_digest {
                let expected = "the digest of a bundle: `sha256:` and 64 hexadecimal digits";
                self.error(pin.place, not_text(expected, &pin.raw));
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
        let chosen = match self.choose(Slot::App) {
            Some(choice) if failures::is_meant(&choice.name) => self.base(choice.place),
            Some(choice) => Some(choice),
            None => {
                if !self.incomplete && !self.unchecked.contains(&Slot::App) {
                    let place = Place::Flag("--app".to_owned());
                    let available = self.apps();
                    self.error(place, Problem::NoApp { available });
                }
                None
            }
        };
        let Some(Choice { name, place }) = chosen else {
            self.unchecked.push(Slot::App);
            return None;
        };
        let loaded = self.schema.bundles.iter().find(|app| app.written == name);
        self.data = loaded.map_or(&[], |app| &app.data);
        match self.find_app(name) {
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

    /// The app of that name, or the one that was loaded from that path.
    fn find_app(&self, name: String) -> Result<ChosenApp<'a>, Problem> {
        let schema = self.schema;
        let loaded = schema.bundles.iter().find(|app| app.written == name);
        if let Some(loaded) = loaded {
            let path = paths::absolute(&name, self.start_dir);
            let (stored_name, path) = match (&loaded.stored, path.to_str()) {
                (Some(stored), _) => (stored.clone(), None),
                (None, Some(stored)) => (stored.to_owned(), Some(path)),
                (None, None) => return Err(Problem::NotUtf8),
            };
            return Ok(ChosenApp {
                description: &loaded.app,
                stored_name,
                path,
                written: Some(name),
                digest: loaded.digest.clone(),
            });
        }
        if is_app_path(&name) {
            return Err(Problem::NotLoaded { path: name });
        }
        let available = self.apps();
        if self.base_of.is_some() && failures::is_meant(&name) {
            return Err(Problem::OwnBase { available });
        }
        match schema.apps.iter().find(|app| same_word(&app.name, &name)) {
            Some(description) => Ok(ChosenApp {
                description,
                stored_name: description.name.clone(),
                path: None,
                written: None,
                digest: None,
            }),
            None => Err(Problem::UnknownPlugin {
                what: Slot::App.what(),
                nearest: suggest::nearest(&name, available.iter().map(String::as_str)),
                name,
                available,
            }),
        }
    }

    /// The names that would do for the app, or for the base.
    fn apps(&self) -> Vec<String> {
        let names = self.schema.apps.iter().map(|app| app.name.clone());
        names
            .filter(|name| self.base_of.is_none() || !failures::is_meant(name))
            .collect()
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
        let known: Vec<_> = fields
            .iter()
            .map(|field| Known {
                section: slot.section().to_owned(),
                path: join(slot.section(), &field.name),
                written: self.as_written(&join(slot.section(), &field.name)),
                field,
                rule: Rule::None,
                owner: Some((slot.what(), owner.to_owned())),
            })
            .collect();
        self.known.extend(known);
    }

    fn general(&mut self) {
        for section in general_sections() {
            let known = section.fields.iter();
            self.known
                .extend(known.map(|general| Known::general(section.name, general)));
        }
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
        let is_app = known.section == Slot::App.section();
        let paths = Paths {
            start_dir: self.start_dir,
            data: is_app.then_some(self.data),
        };
        value::convert(known.field, known.rule, input, paths)
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
