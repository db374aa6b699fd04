//! What the bundle says that a run of this configuration gives, held against what it gave.

use serde_json::Value;
use taps_bundle::{Bundle, Expected};
use taps_config::Resolved;
use taps_schema::{AppDescription, Bound, Check, ConfigField, FieldKind};

/// A check for each value that the bundle expects of a run with this configuration; none where it expects
/// nothing.
pub(super) fn checks<'a>(
    resolved: &Resolved,
    bundle: &Bundle,
    values: impl IntoIterator<Item = &'a (String, Value)>,
) -> Vec<Check> {
    let expected = &bundle.own_manifest().expected;
    if expected.is_empty() || resolved.general.run.seed != default_seed() {
        return Vec::new();
    }
    let app = crate::apps::described(bundle);
    let matching = expected
        .iter()
        .find(|expected| is_of(resolved, &app, expected));
    let Some(matching) = matching else {
        return Vec::new();
    };
    let values: Vec<&(String, Value)> = values.into_iter().collect();
    let check = |(name, expected): (&String, &Value)| {
        let found = values.iter().find(|(value, _)| value == name);
        let value = found.map_or(Value::Null, |(_, value)| value.clone());
        Check {
            name: format!("expected {name}"),
            passed: is_equal(&value, expected),
            value,
            bound: Bound::Equals(expected.clone()),
        }
    };
    matching.values.iter().map(check).collect()
}

/// The seed of a run that names none: what else is random is not what the bundle expects.
fn default_seed() -> u64 {
    let fields = taps_config::general_sections()
        .iter()
        .filter(|section| section.name == "run")
        .flat_map(|section| &section.fields);
    let seed = fields
        .map(|general| &general.field)
        .find(|field| field.name == "seed");
    seed.and_then(|field| field.default.as_ref()?.as_u64())
        .unwrap_or_default()
}

/// Whether every field of the app is as expected, or, where that says nothing, has its default. Where output goes
/// changes nothing about it.
fn is_of(resolved: &Resolved, app: &AppDescription, expected: &Expected) -> bool {
    let decides = |field: &&ConfigField| field.kind != FieldKind::OutputDir;
    app.config.iter().filter(decides).all(|field| {
        let wanted = expected.config.get(&field.name).or(field.default.as_ref());
        let given = resolved.app_config.get(&field.name);
        is_equal(
            given.unwrap_or(&Value::Null),
            wanted.unwrap_or(&Value::Null),
        )
    })
}

/// Whether two values are the same, 1 and 1.0 included.
fn is_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || (one.is_f64() || other.is_f64()) && one.as_f64() == other.as_f64()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_equal(a, b))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, a)| other.get(key).is_some_and(|b| is_equal(a, b)))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_equal_by_value() {
        assert!(is_equal(&json!(1), &json!(1.0)));
        assert!(is_equal(&json!({"a": [2.0]}), &json!({"a": [2]})));
        assert!(!is_equal(&json!(1), &json!(2)));
        assert!(!is_equal(&json!(u64::MAX), &json!(u64::MAX - 1)));
        assert!(!is_equal(&json!({"a": 1}), &json!({"b": 1})));
    }
}
