//! `describe`: what an app says of itself, or what an executor, a filter or a transformer takes.

use crate::apps::{self, Found};
use crate::exit::{ExitCode, Failure};
use crate::render;
use std::fmt::Write;
use taps_config::{describe_kind, failures_app};
use taps_schema::{AppDescription, ConfigField, TaskDescription};

pub(crate) fn describe(app: &str, as_json: bool) -> Result<ExitCode, Failure> {
    let failures = failures_app();
    if app.replace('_', "-").eq_ignore_ascii_case(&failures.name) {
        return describe_failures(&failures, as_json);
    }
    let found = match apps::find_with_origin(app) {
        Ok(found) => found,
        Err(unknown) if unknown.exit == ExitCode::Usage => {
            return describe_plugin(app, as_json, unknown);
        }
        Err(failure) => return Err(failure),
    };
    if as_json {
        let mut manifest = serde_json::to_value(found.bundle.manifest())
            .map_err(|error| Failure::new(ExitCode::Runtime, error))?;
        manifest["digest"] = found.bundle.digest().to_string().into();
        manifest["source"] = found.shown().into();
        render::json(&manifest)?;
    } else {
        render::data(&text(&found))?;
    }
    Ok(ExitCode::Ok)
}

/// The app that is none: no component stands behind it.
fn describe_failures(failures: &AppDescription, as_json: bool) -> Result<ExitCode, Failure> {
    if as_json {
        render::json(&serde_json::json!({
            "app": failures,
            "components": [],
            "routes": [],
        }))?;
        return Ok(ExitCode::Ok);
    }
    let mut text = String::new();
    app_text(
        &mut text,
        failures,
        "built in; another way to write `[faults]`",
    );
    render::data(&text)?;
    Ok(ExitCode::Ok)
}

/// An executor, a filter or a transformer; `unknown` when there is none of that name either.
fn describe_plugin(name: &str, as_json: bool, unknown: Failure) -> Result<ExitCode, Failure> {
    let schema = apps::schema()?;
    let groups = [
        ("executor", &schema.executors),
        ("filter", &schema.filters),
        ("transformer", &schema.transformers),
    ];
    let wanted = name.replace('_', "-");
    let plugins = groups.into_iter().flat_map(|(what, plugins)| {
        let named = plugins.iter().map(move |plugin| (what, plugin));
        named.collect::<Vec<_>>()
    });
    let found = plugins
        .into_iter()
        .find(|(_, plugin)| plugin.name.eq_ignore_ascii_case(&wanted));
    let Some((what, plugin)) = found else {
        return Err(unknown);
    };
    if as_json {
        render::json(&serde_json::json!({
            "kind": what,
            "name": plugin.name,
            "summary": plugin.summary,
            "fields": plugin.fields,
        }))?;
        return Ok(ExitCode::Ok);
    }
    let mut text = format!("{} ({what})\n\n{}\n", plugin.name, plugin.summary);
    if !plugin.fields.is_empty() {
        text.push_str("\nFields:\n");
    }
    for field in &plugin.fields {
        field_text(&mut text, what, field);
    }
    render::data(&text)?;
    Ok(ExitCode::Ok)
}

/// Everything in the manifest, for people.
fn text(found: &Found) -> String {
    let bundle = &found.bundle;
    let app = &apps::described(bundle);
    let mut text = String::new();
    let source = found.shown();
    app_text(
        &mut text,
        app,
        &format!("{source}; taps:core {}", app.wit_version),
    );
    let words = bundle.own_manifest().capabilities.in_words();
    if !words.is_empty() {
        text.push_str("\nIt may:\n");
    }
    for word in words {
        let _ = writeln!(text, "  {word}");
    }
    text.push_str("\nComponents:\n");
    for component in &bundle.manifest().components {
        let _ = writeln!(text, "  {}  {}", component.file, component.digest);
    }
    text
}

/// What an app says of itself; `origin` is where it comes from.
fn app_text(text: &mut String, app: &AppDescription, origin: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{} {} ({origin})\n\n{}",
        app.name,
        app.version,
        app.summary.trim()
    );
    if !app.config.is_empty() {
        text.push_str("\nFields:\n");
    }
    for field in &app.config {
        field_text(text, "app", field);
    }
    if !app.tasks.is_empty() {
        text.push_str("\nTasks:\n");
    }
    for task in &app.tasks {
        task_text(text, task);
    }
}

fn field_text(text: &mut String, section: &str, field: &ConfigField) {
    let flag = field.name.replace('_', "-");
    let default = match &field.default {
        Some(serde_json::Value::String(default)) => format!("default {default}"),
        Some(default) => format!("default {default}"),
        None if field.optional => "default none".to_owned(),
        None => "required".to_owned(),
    };
    let _ = writeln!(
        text,
        "  --{section}.{flag}  {}; {default}",
        describe_kind(&field.kind)
    );
    for line in field.help.lines().filter(|line| !line.trim().is_empty()) {
        let _ = writeln!(text, "      {}", line.trim());
    }
}

fn task_text(text: &mut String, task: &TaskDescription) {
    let parameters: Vec<String> = task
        .parameters
        .iter()
        .map(|(name, kind)| format!("{name}: {kind}"))
        .collect();
    let pure = if task.pure { "; pure" } else { "" };
    let _ = writeln!(
        text,
        "  {}({}) -> {}{pure}",
        task.name,
        parameters.join(", "),
        task.outputs.join(", ")
    );
    if !task.help.is_empty() {
        let _ = writeln!(text, "      {}", task.help.trim().replace('\n', " "));
    }
    if !task.grants.is_empty() {
        let _ = writeln!(text, "      reaches: {}", task.grants.join(", "));
    }
}
