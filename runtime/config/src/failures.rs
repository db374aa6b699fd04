//! TaPS's app `failures`: no component, but another way to write `[faults]` over an app.

use crate::fields::{GeneralField, general_sections};
use crate::known::{join, split};
use crate::layers::{Slot, same_word};
use serde_json::json;
use taps_schema::{AppDescription, ConfigField, FieldKind, Nans, WIT_VERSION};

/// Its name.
pub(crate) const NAME: &str = "failures";

/// Its fields that are fields of `[faults]`, and their names there. The first two are TaPS's.
const FIELDS: [(&str, &str); 10] = [
    ("failure_rate", "rate"),
    ("failure_type", "type"),
    ("seed", "seed"),
    ("point", "point"),
    ("tasks", "tasks"),
    ("indices", "indices"),
    ("attempts", "attempts"),
    ("workers", "workers"),
    ("budget", "budget"),
    ("burst", "burst"),
];

/// The type of the faults when none is given, as in TaPS.
pub(crate) const DEFAULT_TYPE: &str = "dependency";

/// Whether an app of that name is `failures`.
pub(crate) fn is_meant(app: &str) -> bool {
    same_word(app, NAME)
}

/// The path of the base's name.
pub(crate) fn base_path() -> Vec<String> {
    join(Slot::App.section(), "base")
}

/// The name in `[faults]` of one of its fields.
pub(crate) fn faults_field(field: &str) -> Option<&'static str> {
    FIELDS
        .iter()
        .find(|(own, _)| *own == field)
        .map(|&(_, name)| name)
}

/// The paths of its own fields.
pub(crate) fn fields() -> Vec<Vec<String>> {
    let own = FIELDS.iter().map(|&(own, _)| own);
    let names = ["base", "config"].into_iter().chain(own);
    names.map(|name| join(Slot::App.section(), name)).collect()
}

/// How the user writes a field of the base: below `app.config`.
pub(crate) fn as_written(path: &[String]) -> Vec<String> {
    match path {
        [app, field @ ..] if app == Slot::App.section() && !field.is_empty() => {
            [&split("app.config"), field].concat()
        }
        other => other.to_vec(),
    }
}

/// What `list`, `describe` and help show of it.
pub fn failures_app() -> AppDescription {
    let mut config = vec![
        ConfigField {
            name: "base".to_owned(),
            kind: FieldKind::String,
            help: "The app that runs with faults: a name, or the path of a bundle or a component."
                .to_owned(),
            default: None,
            optional: false,
        },
        ConfigField {
            name: "config".to_owned(),
            kind: FieldKind::Table,
            help: "Its configuration; a field of it may also be given alone, as \
                   `--app.config.FIELD VALUE`."
                .to_owned(),
            default: Some(json!({})),
            optional: false,
        },
    ];
    config.extend(FIELDS.iter().filter_map(|&(own, name)| {
        let mut field = faults(name)?.field.clone();
        own.clone_into(&mut field.name);
        if name == "type" {
            field.default = Some(DEFAULT_TYPE.into());
            field.optional = false;
        }
        Some(field)
    }));
    AppDescription {
        name: NAME.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        wit_version: WIT_VERSION.to_owned(),
        summary: "Any other app, with faults injected into its tasks.\n\n\
                  It is TaPS's way to write what every app takes: `run failures --app.base X \
                  --app.failure-type worker-killed` is `run X --faults worker-killed`, and so it \
                  stands in `config.toml`."
            .to_owned(),
        driver: true,
        config,
        tasks: Vec::new(),
        programs: Vec::new(),
        nans: Nans::Canonical,
    }
}

/// A field of `[faults]`.
fn faults(name: &str) -> Option<&'static GeneralField> {
    let section = general_sections()
        .iter()
        .find(|section| section.name == "faults")?;
    section
        .fields
        .iter()
        .find(|general| general.field.name == name)
}
