//! TOML as we write it: one form for each value, so that equal configurations give equal bytes.

use serde_json::Value;
use std::fmt::Write;

/// The sections with their fields; a section without a name comes first, without a heading.
pub(crate) fn document(sections: &[(String, Vec<(String, Value)>)]) -> String {
    let mut text = String::new();
    for (name, fields) in sections {
        if !name.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n[{name}]\n");
        }
        for (key, value) in fields {
            write_key(&mut text, key);
            text.push_str(" = ");
            write_value(&mut text, value);
            text.push('\n');
        }
    }
    text
}

/// One value.
pub(crate) fn value(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value);
    text
}

fn write_key(text: &mut String, key: &str) {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) {
        text.push_str(key);
    } else {
        write_text(text, key);
    }
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        Value::Null => write_text(text, "none"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => {
            let _ = match number.as_f64() {
                Some(float) if number.is_f64() => write!(text, "{float:?}"),
                _ => write!(text, "{number}"),
            };
        }
        Value::String(value) => write_text(text, value),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                write_value(text, item);
            }
            text.push(']');
        }
        Value::Object(object) => {
            // Sorted here, because the order of a JSON object depends on how serde_json is built.
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (index, (key, item)) in entries.into_iter().enumerate() {
                text.push_str(if index > 0 { ", " } else { " " });
                write_key(text, key);
                text.push_str(" = ");
                write_value(text, item);
            }
            text.push_str(if object.is_empty() { "}" } else { " }" });
        }
    }
}

/// A basic string on one line.
fn write_text(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            control if control.is_control() => {
                let _ = write!(text, "\\u{:04X}", u32::from(control));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}
