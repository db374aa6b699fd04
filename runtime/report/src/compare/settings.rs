//! Configurations as flat settings, and which of them make runs different.

use std::collections::BTreeMap;

/// Settings by their full name.
pub(super) type Settings = BTreeMap<String, String>;

/// Settings that say where a run writes, what it tells, or which of many equal runs it is.
const INDIFFERENT: [&str; 8] = [
    "version",
    "live.",
    "logging.",
    "run.dir_format",
    "run.repeat",
    "run.seed",
    "engine.task_record_file_name",
    "faults.seed",
];

/// The settings of a configuration; none when it cannot be read.
pub(super) fn settings(config: &str) -> Settings {
    let mut settings = Settings::new();
    if let Ok(table) = config.parse::<toml::Table>() {
        flatten("", &table, &mut settings);
    }
    let indifferent = |name: &str| {
        let mut prefixes = INDIFFERENT.iter();
        prefixes.any(|known| name == *known || known.ends_with('.') && name.starts_with(known))
    };
    settings.retain(|name, _| !indifferent(name));
    settings
}

fn flatten(prefix: &str, table: &toml::Table, into: &mut Settings) {
    for (key, value) in table {
        let name = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        match value {
            toml::Value::Table(inner) if !inner.is_empty() => flatten(&name, inner, into),
            toml::Value::String(text) => drop(into.insert(name, text.clone())),
            other => drop(into.insert(name, other.to_string())),
        }
    }
}

/// The settings that are not the same in all, by name.
fn differing(all: &[&Settings]) -> Vec<String> {
    let mut names: Vec<&String> = all.iter().flat_map(|settings| settings.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let differs = |name: &&String| {
        let mut values = all.iter().map(|settings| settings.get(*name));
        let first = values.next();
        values.any(|value| Some(value) != first)
    };
    names.into_iter().filter(differs).cloned().collect()
}

/// Tables of which each has a name, and fields that depend on it.
const OWNERS: [&str; 4] = [
    "app",
    "engine.executor",
    "engine.filter",
    "engine.transformer",
];

/// What is not the same in all, each with the setting that tells: an app or an executor stands for the fields that
/// come and go with its name. A field that differs among those of one name stands for itself.
pub(super) fn subjects(all: &[&Settings]) -> BTreeMap<String, String> {
    let names = differing(all);
    let mut subjects = BTreeMap::new();
    for name in names.iter().filter(|name| !depends(name, &names, all)) {
        let owner = OWNERS
            .into_iter()
            .find(|owner| *name == format!("{owner}.name"));
        subjects.insert(owner.unwrap_or(name).to_owned(), name.clone());
    }
    subjects
}

/// Whether a field is told by the name of its table.
fn depends(field: &str, names: &[String], all: &[&Settings]) -> bool {
    let within = |owner: &&str| {
        let rest = field.strip_prefix(owner);
        rest.is_some_and(|rest| rest.starts_with('.') && rest != ".name")
    };
    let Some(owner) = OWNERS.into_iter().find(within) else {
        return false;
    };
    let owner = format!("{owner}.name");
    let mut told: BTreeMap<Option<&String>, Option<&String>> = BTreeMap::new();
    names.contains(&owner)
        && all.iter().all(|settings| {
            let value = settings.get(field);
            *told.entry(settings.get(&owner)).or_insert(value) == value
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects_of(configs: &[&str]) -> Vec<String> {
        let all: Vec<Settings> = configs.iter().map(|config| settings(config)).collect();
        let all: Vec<&Settings> = all.iter().collect();
        subjects(&all).into_keys().collect()
    }

    const A: &str = "[app]\nname = 'a'\nx = 1\n[run]\nseed = 3\n[engine]\nretries = 0\n";

    #[test]
    fn fields_of_another_app_are_part_of_the_app() {
        let other = "[app]\nname = 'b'\ny = 1\n[run]\nseed = 4\n[engine]\nretries = 1\n";
        assert_eq!(subjects_of(&[A, other]), ["app", "engine.retries"]);
        assert!(subjects_of(&[A, A]).is_empty());
    }

    #[test]
    fn a_field_that_differs_within_an_app_stands_for_itself() {
        let other = A.replace("x = 1", "x = 2");
        assert_eq!(subjects_of(&[A, &other]), ["app.x"]);
        let third = A.replace("'a'", "'b'");
        assert_eq!(subjects_of(&[A, &other, &third]), ["app", "app.x"]);
    }

    #[test]
    fn what_only_tells_runs_apart_is_no_difference() {
        let other =
            A.replace("seed = 3", "seed = 4\ndir_format = 'x'") + "[logging]\nlevel = 'DEBUG'\n";
        assert!(subjects_of(&[A, &other]).is_empty());
        assert!(settings("not [ toml").is_empty());
    }
}
