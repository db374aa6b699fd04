//! Help of `run`, from the same fields as validation.

use crate::arguments::Preview;
use crate::fields::{FIRST_LEVEL_FLAGS, Rule, general_sections};
use crate::layers::{Slot, same_word};
use crate::schema::{PluginSchema, SHORT_FIELDS, Schema};
use crate::value::{describe, is_none_word};
use serde_json::Value;
use std::fmt::Write;
use taps_schema::{AppDescription, ConfigField, FieldKind};

/// What a kind allows, in words that follow "expected".
pub fn describe_kind(kind: &FieldKind) -> String {
    match kind {
        FieldKind::Bool => "`true` or `false`".to_owned(),
        FieldKind::Integer { min, max } => format!("a whole number{}", whole(*min, *max)),
        FieldKind::Float { min, max } => format!("a number{}", range(*min, *max)),
        FieldKind::String => "text".to_owned(),
        FieldKind::Enum { values } => format!("one of {}", values.join(", ")),
        FieldKind::List { item } => {
            format!("a list (a repeated flag, or JSON) of {}", plural(item))
        }
        FieldKind::Table => {
            "a table, on the command line as JSON such as `{\"key\": 1}`".to_owned()
        }
        FieldKind::InputFile => "the path of a file".to_owned(),
        FieldKind::InputDir => "the path of a directory".to_owned(),
        FieldKind::OutputDir => "the path of a directory to write to".to_owned(),
    }
}

fn plural(item: &FieldKind) -> String {
    match item {
        FieldKind::Enum { values } => values.join(", "),
        FieldKind::String => "texts".to_owned(),
        FieldKind::InputFile => "files".to_owned(),
        FieldKind::InputDir | FieldKind::OutputDir => "directories".to_owned(),
        FieldKind::Integer { min, max } => format!("whole numbers{}", whole(*min, *max)),
        FieldKind::Float { min, max } => format!("numbers{}", range(*min, *max)),
        other => format!("items, each {}", describe_kind(other)),
    }
}

/// A range of whole numbers; the bounds of the type go without saying.
fn whole(min: Option<i64>, max: Option<i64>) -> String {
    range(
        min.filter(|&min| min > i64::MIN),
        max.filter(|&max| max < i64::MAX),
    )
}

fn range<T: std::fmt::Display>(min: Option<T>, max: Option<T>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!(" from {min} to {max}"),
        (Some(min), None) => format!(" of at least {min}"),
        (None, Some(max)) => format!(" of at most {max}"),
        (None, None) => String::new(),
    }
}

/// Help of `run`, wrapped to `width` columns: usage, the fields of the app and the plugins that
/// `preview` names (with `failures` also those of its base; for the executor, of the default one when none is named), and the general
/// options by group. A name that is not in the schema is said to be unknown.
pub fn run_help(schema: &Schema, preview: &Preview, width: usize) -> String {
    let mut page = Page {
        text: String::new(),
        width: width.clamp(40, 100),
    };
    page.usage(schema, preview.app.as_deref());
    if let Some(name) = &preview.app {
        page.app(schema, name, "App", "app");
    }
    if let Some(base) = &preview.base {
        page.app(schema, base, "Base app", "app.config");
    }
    let executor = preview.executor.as_deref();
    let chosen = [
        (
            Slot::Executor,
            &schema.executors,
            executor.or(Some(Schema::DEFAULT_EXECUTOR)),
        ),
        (Slot::Filter, &schema.filters, preview.filter.as_deref()),
        (
            Slot::Transformer,
            &schema.transformers,
            preview.transformer.as_deref(),
        ),
    ];
    for (slot, plugins, name) in chosen {
        if let Some(name) = name {
            page.plugin(slot, plugins, name);
        }
    }
    page.heading("Options");
    for (flags, help) in FIRST_LEVEL_FLAGS {
        page.entry(flags, &[help]);
    }
    page.choices(schema);
    for section in general_sections() {
        page.heading(&format!("{} options", section.title));
        for general in &section.fields {
            let mut flags = flag(section.name, &general.field);
            if let Some(alias) = general.alias {
                flags = format!("--{alias}, {flags}");
            }
            if general.bare.is_some() {
                flags.push_str(" [VALUE]");
            }
            page.field(&flags, &general.field, general.rule);
        }
    }
    page.closing();
    page.text
}

struct Page {
    text: String,
    width: usize,
}

impl Page {
    fn usage(&mut self, schema: &Schema, app: Option<&str>) {
        let shown = app.unwrap_or("APP");
        self.paragraph(
            0,
            "Run an app, every task in its own sandbox, and check its result.",
        );
        self.heading("Usage");
        self.line(
            2,
            &format!("taps-wasm run {shown} [--app.FIELD VALUE]… [OPTIONS]"),
        );
        self.line(2, "taps-wasm run -c config.toml [FILE]… [OPTIONS]");
        if app.is_some() {
            return;
        }
        self.heading("Apps");
        for known in &schema.apps {
            self.entry(&known.name, &[first_line(&known.summary)]);
        }
        self.paragraph(
            2,
            "or the path of a bundle (.taps), a directory, or a component (.wasm), or where a bundle is \
             in a registry (HOST/PATH:VERSION). `taps-wasm run APP --help` shows the fields of an app.",
        );
    }

    /// The fields of an app, which are written below `section`.
    fn app(&mut self, schema: &Schema, name: &str, title: &str, section: &str) {
        let bundles = schema.bundles.iter().filter(|app| app.written == name);
        let found: Option<&AppDescription> = bundles
            .map(|loaded| &loaded.app)
            .chain(schema.apps.iter().filter(|app| same_word(&app.name, name)))
            .next();
        let Some(app) = found else {
            self.heading(&format!("{title} {name}: unknown"));
            return;
        };
        self.heading(&format!("{title} {}", app.name));
        self.paragraph(2, &app.summary);
        for field in &app.config {
            self.field(&flag(section, field), field, Rule::None);
        }
    }

    fn plugin(&mut self, slot: Slot, plugins: &[PluginSchema], name: &str) {
        if is_none_word(name) {
            return;
        }
        let what = slot.what();
        let found = plugins.iter().find(|plugin| same_word(&plugin.name, name));
        let title = match found {
            Some(plugin) => format!("{what} {}", plugin.name),
            None => format!("{what} {name}: unknown"),
        };
        self.heading(&(title[..1].to_uppercase() + &title[1..]));
        let Some(plugin) = found else {
            return;
        };
        self.paragraph(2, &plugin.summary);
        for field in &plugin.fields {
            let dotted = flag(slot.section(), field);
            let mut short = flag(what, field);
            if slot == Slot::Executor && SHORT_FIELDS.contains(&field.name.as_str()) {
                short = format!("--{}, {short}", field.name);
            }
            self.field(&format!("{short}, {dotted}"), field, Rule::None);
        }
    }

    fn choices(&mut self, schema: &Schema) {
        let choices = [
            (Slot::Executor, &schema.executors, Schema::DEFAULT_EXECUTOR),
            (Slot::Filter, &schema.filters, "none"),
            (Slot::Transformer, &schema.transformers, "none"),
        ];
        for (slot, plugins, default) in choices {
            let names = plugins.iter().map(|plugin| plugin.name.as_str());
            let none = (default == "none").then_some("none");
            let names: Vec<&str> = none.into_iter().chain(names).collect();
            let facts = format!("[one of {}] [default: {default}]", names.join(", "));
            let flags = format!("--{}, --{}", slot.what(), slot.section());
            let help = match slot {
                Slot::Executor => "What runs the tasks.",
                Slot::Filter => {
                    "Which payloads the transformer takes; `none` means every payload, as in TaPS."
                }
                _ => "How payloads travel instead of with the task.",
            };
            self.entry(&flags, &[help, &facts]);
        }
    }

    fn closing(&mut self) {
        self.text.push('\n');
        self.paragraph(
            0,
            "Flags take dashes or underscores, `--flag value` or `--flag=value`. `none` nulls an \
             optional field. Lists are JSON or a repeated flag, tables are JSON. Every dotted flag \
             is also a key of a config file: `--engine.retries 3` is `retries = 3` under \
             `[engine]`.",
        );
    }

    fn field(&mut self, flags: &str, field: &ConfigField, rule: Rule) {
        let mut facts = format!("[{}]", describe(&field.kind, rule));
        match &field.default {
            Some(default) => {
                let _ = write!(facts, " [default: {}]", plain(default));
            }
            None if field.optional => facts.push_str(" [default: none]"),
            None => facts.push_str(" [required]"),
        }
        self.entry(flags, &[&field.help, &facts]);
    }

    fn heading(&mut self, title: &str) {
        let _ = write!(self.text, "\n{title}:\n");
    }

    fn line(&mut self, indent: usize, line: &str) {
        let _ = writeln!(self.text, "{:indent$}{line}", "");
    }

    fn entry(&mut self, flags: &str, paragraphs: &[&str]) {
        self.line(2, flags);
        for paragraph in paragraphs {
            self.paragraph(10, paragraph);
        }
    }

    /// Words filled into lines; a blank line in `text` separates paragraphs.
    fn paragraph(&mut self, indent: usize, text: &str) {
        for paragraph in text.split("\n\n") {
            let mut line = String::new();
            let mut columns = indent;
            for word in paragraph.split_whitespace() {
                let length = word.chars().count();
                if !line.is_empty() && columns + 1 + length > self.width {
                    self.line(indent, &std::mem::take(&mut line));
                    columns = indent;
                }
                if !line.is_empty() {
                    line.push(' ');
                    columns += 1;
                }
                line.push_str(word);
                columns += length;
            }
            if !line.is_empty() {
                self.line(indent, &line);
            }
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn flag(section: &str, field: &ConfigField) -> String {
    format!("--{section}.{}", field.name.replace('_', "-"))
}

/// A default as a person would type it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_string) => {
            items.iter().map(plain).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}
