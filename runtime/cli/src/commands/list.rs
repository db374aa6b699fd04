//! `list`: what can be named on the command line.

use crate::apps::{
    self,
    catalogue::{Broken, Catalogue, Entry, Place},
};
use crate::arguments::Listed;
use crate::exit::{ExitCode, Failure};
use crate::render;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use taps_config::{PluginSchema, Schema, failures_app};

/// The choices, by group.
type Groups = Vec<(&'static str, Vec<Choice>)>;

/// What can be chosen.
#[derive(Default)]
struct Choice {
    name: String,
    summary: String,
    /// Of apps that are not part of this program: version, where it is, what hides it, why it is broken.
    version: Option<String>,
    source: Option<String>,
    hidden_by: Option<String>,
    error: Option<String>,
}

impl Choice {
    fn new(name: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            summary: summary.into(),
            ..Self::default()
        }
    }

    fn app(entry: &Entry) -> Self {
        let summary = entry.app.summary.lines().next().unwrap_or_default();
        let choice = Self::new(&entry.app.name, summary);
        if entry.place == Place::BuiltIn {
            return choice;
        }
        Self {
            version: Some(entry.app.version.clone()),
            source: Some(entry.place.shown()),
            hidden_by: entry.hidden_by.as_ref().map(Place::shown),
            ..choice
        }
    }

    fn broken(broken: &Broken) -> Self {
        let name = broken.path.file_name().unwrap_or(broken.path.as_os_str());
        Self {
            source: Some(broken.path.display().to_string()),
            error: Some(broken.reason.clone()),
            ..Self::new(name.to_string_lossy(), "")
        }
    }

    /// What follows the name.
    fn line(&self) -> String {
        let source = self.source.as_deref().unwrap_or_default();
        if let Some(error) = &self.error {
            let place = format!(" ({source})");
            let place = if error.contains(source) { "" } else { &place };
            return format!("cannot be used: {error}{place}");
        }
        match (&self.version, &self.hidden_by) {
            (Some(version), None) => format!("{} ({version}, {source})", self.summary),
            (Some(version), Some(by)) => format!(
                "{} ({version}, {source}; the name stands for the one that is {by})",
                self.summary
            ),
            (None, _) => self.summary.clone(),
        }
    }
}

pub(crate) fn list(what: Option<Listed>, as_json: bool) -> Result<ExitCode, Failure> {
    let groups = if what.is_none_or(|what| what == Listed::Apps) {
        let catalogue = apps::catalogue()?;
        groups(&apps::schema_of_catalogue(&catalogue), &catalogue, what)
    } else {
        groups(&apps::executors_schema(), &Catalogue::default(), what)
    };
    if as_json {
        let listed: Map<String, Value> = groups.iter().map(as_object).collect();
        match (what, groups.first()) {
            (Some(_), Some((group, _))) => render::json(&listed[*group])?,
            _ => render::json(&listed)?,
        }
    } else {
        render::data(&as_text(&groups))?;
    }
    Ok(ExitCode::Ok)
}

fn groups(schema: &Schema, catalogue: &Catalogue, what: Option<Listed>) -> Groups {
    let plugins = |plugins: &[PluginSchema]| {
        let pairs = plugins
            .iter()
            .map(|plugin| Choice::new(&plugin.name, &plugin.summary));
        pairs.collect::<Vec<_>>()
    };
    let mut apps: Vec<Choice> = catalogue.entries.iter().map(Choice::app).collect();
    let failures = failures_app();
    let summary = failures.summary.lines().next().unwrap_or_default();
    apps.push(Choice::new(&failures.name, summary));
    // In the order in which names are looked up, where there are several of one name.
    apps.sort_by(|a, b| a.name.cmp(&b.name));
    apps.extend(catalogue.broken.iter().map(Choice::broken));
    let with_none = |text: &str, plugins: Vec<Choice>| {
        let none = std::iter::once(Choice::new("none", text));
        none.chain(plugins).collect::<Vec<_>>()
    };
    let filters = with_none(
        "The same as `all`: every payload, where there is a transformer.",
        plugins(&schema.filters),
    );
    let transformers = with_none(
        "Payloads travel as they are.",
        plugins(&schema.transformers),
    );
    let all = [
        (Listed::Apps, "apps", apps),
        (Listed::Executors, "executors", plugins(&schema.executors)),
        (Listed::Filters, "filters", filters),
        (Listed::Transformers, "transformers", transformers),
    ];
    all.into_iter()
        .filter(|(listed, _, _)| what.is_none_or(|what| what == *listed))
        .map(|(_, name, entries)| (name, entries))
        .collect()
}

fn as_object((group, entries): &(&'static str, Vec<Choice>)) -> (String, Value) {
    let entries = entries.iter().map(|choice| {
        let mut object = json!({"name": choice.name, "summary": choice.summary});
        let more = [
            ("version", &choice.version),
            ("source", &choice.source),
            ("hidden_by", &choice.hidden_by),
            ("error", &choice.error),
        ];
        for (key, value) in more {
            if let Some(value) = value {
                object[key] = value.as_str().into();
            }
        }
        object
    });
    ((*group).to_owned(), entries.collect())
}

fn as_text(groups: &Groups) -> String {
    let mut text = String::new();
    let names = groups.iter().flat_map(|(_, entries)| entries);
    let width = names
        .map(|choice| choice.name.chars().count())
        .max()
        .unwrap_or(0);
    for (index, (group, entries)) in groups.iter().enumerate() {
        if groups.len() > 1 {
            let gap = if index > 0 { "\n" } else { "" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{gap}{group}:");
        }
        for choice in entries {
            let indent = if groups.len() > 1 { "  " } else { "" };
            let line = format!("{indent}{:width$}  {}", choice.name, choice.line());
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_group_is_a_plain_table() {
        let schema = Schema::new(Vec::new());
        let nothing = Catalogue::default();
        let text = as_text(&groups(&schema, &nothing, Some(Listed::Executors)));
        assert!(
            text.starts_with("thread-pool  ") && text.contains("  Worker threads"),
            "{text}"
        );
        let all = as_text(&groups(&schema, &nothing, None));
        assert!(all.contains("\nfilters:\n  none "), "{all}");
    }
}
