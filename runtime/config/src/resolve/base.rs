//! `failures`, rewritten: its base becomes the app, the rest becomes `[faults]`.

use super::{ChosenApp, Resolver, Values, not_text};
use crate::error::{Place, Problem};
use crate::failures::{DEFAULT_TYPE, NAME, base_path, faults_field};
use crate::fields::Rule;
use crate::known::{flag, join, split};
use crate::layers::{Choice, Raw, Setting, Slot, quoted};
use crate::toml_text;
use crate::value::{describe, is_none_word};
use serde_json::Value;
use taps_schema::FieldKind;

impl Resolver<'_> {
    /// Rewrites the fields of `failures`, which was named at `place`, and gives the choice of its base.
    /// Values keep the place at which the user wrote them.
    pub(super) fn base(&mut self, place: Place) -> Option<Choice> {
        self.base_of = Some(place);
        let mut rewritten = Vec::new();
        for setting in std::mem::take(&mut self.settings) {
            self.rewrite(setting, &mut rewritten);
        }
        let kind = split("faults.type");
        let last = rewritten.iter().rfind(|setting| setting.key == kind);
        // A file may say `none` for want of faults; whoever names `failures` wants some.
        let wanted = last.is_some_and(|setting| {
            let is_flag = matches!(setting.place, Place::Flag(_));
            is_flag || !setting.raw.text().is_some_and(is_none_word)
        });
        if !wanted {
            rewritten.push(Setting {
                key: kind,
                raw: Raw::Text(DEFAULT_TYPE.to_owned()),
                place: flag("app.failure_type"),
                layer: usize::MAX,
                inside: Vec::new(),
            });
        }
        self.settings = rewritten;
        let base = self.choose(Slot::App);
        if base.is_none() && !self.incomplete && !self.unchecked.contains(&Slot::App) {
            let missing = Problem::Missing {
                what: Slot::App.what(),
                owner: NAME.to_owned(),
                expected: "the name of an app, or the path of a bundle".to_owned(),
                help: format!("available: {}", self.apps().join(", ")),
            };
            self.error(flag("app.base"), missing);
        }
        base
    }

    /// One setting, as it is written without `failures`.
    fn rewrite(&mut self, setting: Setting, rewritten: &mut Vec<Setting>) {
        let Some(below) = setting.key.strip_prefix(&Slot::App.path()[..]) else {
            rewritten.push(setting);
            return;
        };
        let key = match below {
            _ if setting.key == base_path() => Slot::App.path(),
            [config] if config == "config" => return self.whole_config(setting, rewritten),
            [config, field, rest @ ..] if config == "config" => {
                let field = match setting.raw {
                    Raw::Text(_) => field.replace('-', "_"),
                    Raw::Value(_) => field.clone(),
                };
                [&join(Slot::App.section(), &field), rest].concat()
            }
            [field] if let Some(name) = faults_field(field) => join("faults", name),
            _ => {
                self.strangers.push(setting);
                return;
            }
        };
        rewritten.push(Setting { key, ..setting });
    }

    /// The configuration of the base as one table. As with any table, one of a flag replaces what was
    /// before, one of a file is united with it.
    fn whole_config(&mut self, setting: Setting, rewritten: &mut Vec<Setting>) {
        let (table, replaces) = match &setting.raw {
            Raw::Text(text) if is_none_word(text) => (Value::Null, true),
            Raw::Text(text) => (
                serde_json::from_str(text).unwrap_or(Value::Bool(false)),
                true,
            ),
            Raw::Value(Value::String(text)) if is_none_word(text) => (Value::Null, false),
            Raw::Value(value) => (value.clone(), false),
        };
        if replaces {
            let app = Slot::App.path();
            rewritten.retain(|other| !other.key.starts_with(&app) || other.key == app);
        }
        let fields = match table {
            Value::Object(fields) => fields,
            Value::Null => return,
            _ => {
                let expected = describe(&FieldKind::Table, Rule::None);
                self.error(setting.place, not_text(&expected, &setting.raw));
                return;
            }
        };
        for (field, value) in fields {
            let inside = setting.inside.iter().find(|(name, _)| *name == field);
            let place = match (inside, &setting.place) {
                (None, Place::Flag(flag)) => Place::Flag(format!("{flag}: {field}")),
                (Some((_, place)), _) | (None, place) => place.clone(),
            };
            rewritten.push(Setting {
                key: join(Slot::App.section(), &field),
                raw: Raw::Value(value),
                place,
                layer: setting.layer,
                inside: Vec::new(),
            });
        }
    }

    /// The path of a key as the user writes it.
    pub(super) fn as_written(&self, path: &[String]) -> Vec<String> {
        match self.base_of {
            Some(_) => crate::failures::as_written(path),
            None => path.to_vec(),
        }
    }

    /// Says what `failures` became.
    pub(super) fn tell_base(&mut self, values: &Values, app: Option<&ChosenApp<'_>>) {
        let (Some(place), Some(app)) = (&self.base_of, app) else {
            return;
        };
        let shown = values
            .get("faults")
            .into_iter()
            .flatten()
            .filter(|(name, _)| {
                let given = |setting: &Setting| setting.key == join("faults", name);
                name == "type" || name == "rate" || self.settings.iter().any(given)
            });
        let shown: Vec<String> = shown
            .map(|(name, value)| format!("{name} = {}", toml_text::value(value)))
            .collect();
        self.notices.push(format!(
            "{place}: runs {} with [faults] {}",
            quoted(&app.description.name),
            shown.join(", ")
        ));
    }
}
