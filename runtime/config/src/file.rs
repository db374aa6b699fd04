//! Config files: TOML to values with their places.

use crate::error::{ConfigError, Place, Problem};
use crate::fields::general_sections;
use crate::layers::{Raw, Setting, Slot, same_word};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Config files are short; this bounds what a wrong path can make us read.
const LIMIT_BYTES: u64 = 4 << 20;

/// What a config file says.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) settings: Vec<Setting>,
    pub(crate) errors: Vec<ConfigError>,
    /// The file could not be used at all.
    pub(crate) failed: bool,
}

/// Reads a config file named relative to `start_dir`. Names of apps serve the hint for an app
/// that was taken for a file.
pub(crate) fn load(name: &str, start_dir: &Path, layer: usize, apps: &[&str]) -> Loaded {
    let whole = |line| Place::File {
        file: name.to_owned(),
        line,
        key: String::new(),
    };
    let failed = |errors| Loaded {
        settings: Vec::new(),
        errors,
        failed: true,
    };
    let text = match read(&start_dir.join(name)) {
        Ok(text) => text,
        Err(problem) => {
            let problem = with_suggestion(problem, name, apps);
            return failed(vec![ConfigError::new(whole(None), problem)]);
        }
    };
    let (table, errors) = DeTable::parse_recoverable(&text);
    if !errors.is_empty() {
        let errors = errors.iter().map(|error| {
            let line = error.span().map(|span| line_of(&text, span.start));
            let message = error.message().replace('\n', ", ");
            ConfigError::new(whole(line), Problem::Toml { message })
        });
        return failed(errors.collect());
    }
    let mut reader = Reader {
        file: name,
        text: &text,
        layer,
        found: Vec::new(),
        errors: Vec::new(),
    };
    reader.table(&mut Vec::new(), table.get_ref());
    reader.found.sort_by_key(|(offset, _)| *offset);
    Loaded {
        settings: reader
            .found
            .into_iter()
            .map(|(_, setting)| setting)
            .collect(),
        errors: reader.errors,
        failed: false,
    }
}

fn read(path: &Path) -> Result<String, Problem> {
    let unreadable = |reason| Problem::Unreadable {
        reason,
        suggestion: None,
    };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(unreadable(io::ErrorKind::IsADirectory.into()));
    }
    let mut bytes = Vec::new();
    file.take(LIMIT_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > LIMIT_BYTES {
        return Err(Problem::TooLarge {
            limit_bytes: LIMIT_BYTES,
        });
    }
    String::from_utf8(bytes).map_err(|_| Problem::NotUtf8)
}

fn with_suggestion(problem: Problem, name: &str, apps: &[&str]) -> Problem {
    match problem {
        Problem::Unreadable { reason, .. } => Problem::Unreadable {
            reason,
            suggestion: apps
                .iter()
                .find(|app| same_word(app, name))
                .map(|app| format!("run {app} -c FILE")),
        },
        other => other,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text
        .get(..offset)
        .map_or(0, |before| before.matches('\n').count())
}

/// Walks the tables of a file.
struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    layer: usize,
    /// Settings with their offset in the file.
    found: Vec<(usize, Setting)>,
    errors: Vec<ConfigError>,
}

impl Reader<'_> {
    fn table(&mut self, path: &mut Vec<String>, table: &DeTable<'_>) {
        for (key, value) in table {
            path.push(key.get_ref().clone().into_owned());
            let offset = key.span().start;
            match value.get_ref() {
                DeValue::Table(inner) if is_known_section(path) => self.table(path, inner),
                _ => self.leaf(path, offset, value),
            }
            path.pop();
        }
    }

    fn leaf(&mut self, path: &[String], offset: usize, value: &Spanned<DeValue<'_>>) {
        let place = Place::File {
            file: self.file.to_owned(),
            line: Some(line_of(self.text, offset)),
            key: path.join("."),
        };
        let inside = self.inside(path, value.get_ref());
        match json(value.get_ref()) {
            Ok(value) => self.found.push((
                offset,
                Setting {
                    key: canonical(path),
                    raw: Raw::Value(value),
                    place,
                    layer: self.layer,
                    inside,
                },
            )),
            Err(problem) => self.errors.push(ConfigError::new(place, problem)),
        }
    }

    /// The places of the keys of a table.
    fn inside(&self, path: &[String], value: &DeValue<'_>) -> Vec<(String, Place)> {
        let DeValue::Table(table) = value else {
            return Vec::new();
        };
        let places = table.keys().map(|key| {
            let name = key.get_ref().clone().into_owned();
            let place = Place::File {
                file: self.file.to_owned(),
                line: Some(line_of(self.text, key.span().start)),
                key: format!("{}.{name}", path.join(".")),
            };
            (name, place)
        });
        places.collect()
    }
}

/// `engine.executor.name` names the plugin, as `engine.executor` itself does; `faults`, where it is no
/// section, is the type, as the flag of this name.
fn canonical(path: &[String]) -> Vec<String> {
    match path.split_last() {
        Some((last, [])) if last == "faults" => vec![last.clone(), "type".to_owned()],
        Some((last, slot)) if last == "name" && Slot::at(slot).is_some() => slot.to_vec(),
        _ => path.to_vec(),
    }
}

fn is_known_section(path: &[String]) -> bool {
    Slot::at(path).is_some()
        || general_sections()
            .iter()
            .any(|section| section.name.split('.').eq(path.iter().map(String::as_str)))
}

/// A TOML value as JSON; dates become text.
fn json(value: &DeValue<'_>) -> Result<Value, Problem> {
    Ok(match value {
        DeValue::String(text) => Value::String(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Value::from)
            .map_err(|_| not_a_number(&number.to_string()))?,
        DeValue::Float(number) => number
            .as_str()
            .parse::<f64>()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .map(Value::Number)
            .ok_or_else(|| not_a_number(number.as_str()))?,
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| json(item.get_ref()));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => {
            let mut object = Map::new();
            for (key, value) in table {
                object.insert(key.get_ref().clone().into_owned(), json(value.get_ref())?);
            }
            Value::Object(object)
        }
    })
}

fn not_a_number(given: &str) -> Problem {
    Problem::Number {
        given: crate::layers::quoted(given),
    }
}
