//! The fields that may be set in this run.

use crate::error::{Place, Problem};
use crate::fields::{GeneralField, Rule};
use crate::layers::Setting;
use crate::value;
use taps_schema::{ConfigField, FieldKind};

/// A field that may be set.
pub(crate) struct Known<'a> {
    pub(crate) section: String,
    /// Section and name.
    pub(crate) path: Vec<String>,
    /// Where the user writes it: the same, unless the app is the base of another.
    pub(crate) written: Vec<String>,
    pub(crate) field: &'a ConfigField,
    pub(crate) rule: Rule,
    /// App or plugin that it belongs to, for messages.
    pub(crate) owner: Option<(&'static str, String)>,
}

impl<'a> Known<'a> {
    /// A field that does not depend on the app or a plugin.
    pub(crate) fn general(section: &str, general: &'a GeneralField) -> Self {
        let path = join(section, &general.field.name);
        Self {
            section: section.to_owned(),
            written: path.clone(),
            path,
            field: &general.field,
            rule: general.rule,
            owner: None,
        }
    }

    /// Whether a setting gives this field, or a key of it when it is a table.
    pub(crate) fn takes(&self, setting: &Setting) -> bool {
        /// Deeper tables come as JSON or TOML, whose parsers have limits of their own.
        const DEEPEST: usize = 16;
        let Some(below) = setting.key.strip_prefix(self.path.as_slice()) else {
            return false;
        };
        let is_table = matches!(self.field.kind, FieldKind::Table);
        below.is_empty()
            || is_table && below.len() <= DEEPEST && below.iter().all(|key| !key.is_empty())
    }

    pub(crate) fn flag(&self) -> Place {
        flag(&self.written.join("."))
    }

    pub(crate) fn missing(&self) -> Problem {
        let (what, owner) = self
            .owner
            .clone()
            .unwrap_or(("section", self.section.clone()));
        Problem::Missing {
            what,
            owner,
            expected: value::describe(&self.field.kind, self.rule),
            help: self.field.help.clone(),
        }
    }
}

pub(crate) fn flag(dotted: &str) -> Place {
    Place::Flag(format!("--{}", dotted.replace('_', "-")))
}

pub(crate) fn split(dotted: &str) -> Vec<String> {
    dotted.split('.').map(str::to_owned).collect()
}

pub(crate) fn join(section: &str, name: &str) -> Vec<String> {
    let mut path = split(section);
    path.push(name.to_owned());
    path
}
