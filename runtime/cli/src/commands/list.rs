//! `list`: what can be named on the command line.

use crate::apps;
use crate::arguments::Listed;
use crate::exit::{ExitCode, Failure};
use crate::render;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use taps_config::{PluginSchema, Schema};

/// Name and summary of each choice, by group.
type Groups = Vec<(&'static str, Vec<(String, String)>)>;

pub(crate) fn list(what: Option<Listed>, as_json: bool) -> Result<ExitCode, Failure> {
    let groups = groups(&apps::schema()?, what);
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

fn groups(schema: &Schema, what: Option<Listed>) -> Groups {
    let plugins = |plugins: &[PluginSchema]| {
        let pairs = plugins
            .iter()
            .map(|plugin| (plugin.name.clone(), plugin.summary.clone()));
        pairs.collect::<Vec<_>>()
    };
    let apps = schema.apps.iter().map(|app| {
        let summary = app.summary.lines().next().unwrap_or_default().to_owned();
        (app.name.clone(), summary)
    });
    let none = |text: &str| vec![("none".to_owned(), text.to_owned())];
    let filters = [
        none("The same as `all`: every payload, where there is a transformer."),
        plugins(&schema.filters),
    ]
    .concat();
    let transformers = [
        none("Payloads travel as they are."),
        plugins(&schema.transformers),
    ]
    .concat();
    let all = [
        (Listed::Apps, "apps", apps.collect()),
        (Listed::Executors, "executors", plugins(&schema.executors)),
        (Listed::Filters, "filters", filters),
        (Listed::Transformers, "transformers", transformers),
    ];
    all.into_iter()
        .filter(|(listed, _, _)| what.is_none_or(|what| what == *listed))
        .map(|(_, name, entries)| (name, entries))
        .collect()
}

fn as_object((group, entries): &(&'static str, Vec<(String, String)>)) -> (String, Value) {
    let entries = entries
        .iter()
        .map(|(name, summary)| json!({"name": name, "summary": summary}));
    ((*group).to_owned(), entries.collect())
}

fn as_text(groups: &Groups) -> String {
    let mut text = String::new();
    let names = groups.iter().flat_map(|(_, entries)| entries);
    let width = names
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    for (index, (group, entries)) in groups.iter().enumerate() {
        if groups.len() > 1 {
            let gap = if index > 0 { "\n" } else { "" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{gap}{group}:");
        }
        for (name, summary) in entries {
            let indent = if groups.len() > 1 { "  " } else { "" };
            let line = format!("{indent}{name:width$}  {summary}");
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
        let text = as_text(&groups(&Schema::new(Vec::new()), Some(Listed::Executors)));
        assert!(
            text.starts_with("thread-pool  ") && text.contains("  Worker threads"),
            "{text}"
        );
        let all = as_text(&groups(&Schema::new(Vec::new()), None));
        assert!(all.contains("\nfilters:\n  none "), "{all}");
    }
}
