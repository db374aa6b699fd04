//! Tables that several settings contribute to.

use crate::error::Problem;
use crate::fields::Rule;
use crate::known::Known;
use crate::layers::{Raw, Setting, quoted};
use crate::value;
use serde_json::{Map, Value};

/// Tables of files are united key by key; a flag with a whole table replaces what was before,
/// one with a key below it sets that key.
pub(crate) fn merge_tables(known: &Known<'_>, settings: &[&Setting]) -> Result<Value, Problem> {
    let mut merged = known.field.default.clone().unwrap_or(Value::Null);
    let mut fresh = true;
    for setting in settings {
        let below = &setting.key[known.path.len()..];
        let replace = match &setting.raw {
            Raw::Text(text) if below.is_empty() => parse_table(text, known)?,
            Raw::Text(text) => {
                let value = serde_json::from_str(text).ok();
                let value = match (known.rule, value) {
                    (Rule::TextTable, _) | (_, None) => Value::from(text.as_str()),
                    (_, Some(value)) => value,
                };
                insert(&mut merged, below, value);
                fresh = false;
                continue;
            }
            Raw::Value(value) if fresh => value.clone(),
            Raw::Value(value) => {
                unite(&mut merged, value);
                continue;
            }
        };
        merged = replace;
        fresh = false;
    }
    Ok(merged)
}

fn parse_table(text: &str, known: &Known<'_>) -> Result<Value, Problem> {
    if value::is_none_word(text) {
        return Ok(Value::Null);
    }
    match serde_json::from_str(text) {
        Ok(table @ Value::Object(_)) => Ok(table),
        _ => Err(Problem::Value {
            expected: value::describe(&known.field.kind, known.rule),
            given: quoted(text),
            nearest: None,
        }),
    }
}

fn unite(below: &mut Value, above: &Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                unite(below.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above.clone(),
    }
}

fn insert(table: &mut Value, keys: &[String], value: Value) {
    let mut place = table;
    for key in keys {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(object) = place else {
            return;
        };
        place = object.entry(key.clone()).or_insert(Value::Null);
    }
    *place = value;
}
