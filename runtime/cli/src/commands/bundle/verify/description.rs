//! Whether the components say of themselves what the manifest says of them.

use super::{Check, Outcome};
use crate::{apps, commands::bundle::assemble, exit::Failure};
use serde::Serialize;
use serde_json::Value;
use taps_bundle::Bundle;
use taps_schema::{AppDescription, TaskDescription};

/// Asks every component what it is, each in a sandbox that is granted nothing.
pub(super) fn check(bundle: &Bundle) -> Result<Check, Failure> {
    let sandbox = apps::sandbox()?;
    let manifest = bundle.own_manifest();
    let mut described = Vec::new();
    for (index, entry) in manifest.components.iter().enumerate() {
        let bytes = bundle.component(index).unwrap_or_default();
        let description = match assemble::describe(&sandbox, &entry.file, bytes) {
            Ok(description) => description,
            Err(failure) => {
                let reason = failure.message();
                return Ok(Check::new("description", Outcome::Failed, reason));
            }
        };
        described.push((entry.file.as_str(), description));
    }
    let wrong = differences(bundle, &described);
    if !wrong.is_empty() {
        return Ok(Check::new("description", Outcome::Failed, wrong.join("\n")));
    }
    let silent: Vec<&str> = described
        .iter()
        .filter(|(_, description)| description.is_none())
        .map(|(file, _)| *file)
        .collect();
    let mut words = "what the components say of themselves is what the manifest says".to_owned();
    if !silent.is_empty() {
        let (verb, owner) = match silent.len() {
            1 => ("says", "has"),
            _ => ("say", "have"),
        };
        words = format!(
            "{words}\n{} {verb} nothing, and {owner} the tasks of the component before",
            silent.join(", ")
        );
    }
    Ok(Check::new("description", Outcome::Passed, words))
}

/// What the manifest says that the components do not, or the other way round.
fn differences(bundle: &Bundle, described: &[(&str, Option<AppDescription>)]) -> Vec<String> {
    let manifest = bundle.own_manifest();
    let app = &manifest.app;
    let mut wrong = Vec::new();
    match described.first() {
        Some((file, Some(own))) => {
            // The tasks and programs of all components are in the manifest, and a bundle may have a summary of
            // its own.
            let same = AppDescription {
                tasks: own.tasks.clone(),
                programs: own.programs.clone(),
                summary: own.summary.clone(),
                ..app.clone()
            };
            for field in differing(own, &same) {
                wrong.push(format!("`app.{field}` is not what {file} says"));
            }
        }
        Some((file, None)) => wrong.push(format!("{file} says nothing of itself")),
        None => {}
    }
    tasks(bundle, described, &mut wrong);
    let programs = described
        .iter()
        .filter_map(|(file, description)| Some((file, description.as_ref()?)))
        .flat_map(|(file, description)| {
            let programs = description.programs.iter();
            programs.map(move |program| (file, program))
        });
    for (file, program) in programs {
        let known = app.programs.iter().any(|known| known.name == program.name);
        if !known {
            let name = &program.name;
            wrong.push(format!("`app.programs` lacks `{name}`, which {file} lists"));
        }
    }
    wrong
}

fn tasks(bundle: &Bundle, described: &[(&str, Option<AppDescription>)], wrong: &mut Vec<String>) {
    let manifest = bundle.own_manifest();
    // A component without a description has the tasks of the one before that has one.
    let speaker = |component: usize| {
        let mut before = (0..=component).rev();
        before.find(|index| described.get(*index).is_some_and(|(_, it)| it.is_some()))
    };
    let mut listed: Vec<(usize, usize)> = Vec::new();
    for (task, route) in manifest.app.tasks.iter().zip(&manifest.routes) {
        let Some(at) = speaker(route.component as usize) else {
            continue;
        };
        let (file, description) = &described[at];
        let own = description
            .as_ref()
            .and_then(|description| description.tasks.get(route.task as usize));
        listed.push((at, route.task as usize));
        match own {
            None => wrong.push(format!(
                "task `{}` is task {} of {file}, which has no such task",
                task.name, route.task
            )),
            Some(own) => task_differences(task, own, file, wrong),
        }
    }
    for (index, (file, description)) in described.iter().enumerate() {
        let own = description
            .iter()
            .flat_map(|own| own.tasks.iter().enumerate());
        for (number, task) in own.filter(|(number, _)| !listed.contains(&(index, *number))) {
            let name = &task.name;
            wrong.push(format!(
                "task `{name}` of {file} (its task {number}) is missing"
            ));
        }
    }
}

fn task_differences(
    stated: &TaskDescription,
    own: &TaskDescription,
    file: &str,
    wrong: &mut Vec<String>,
) {
    for field in differing(stated, own) {
        let name = &stated.name;
        wrong.push(format!("task `{name}`: `{field}` is not what {file} says"));
    }
}

/// Names of the fields in which two things of the same type differ.
fn differing(one: &impl Serialize, other: &impl Serialize) -> Vec<String> {
    let fields = |thing: Value| match thing {
        Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    };
    let one = fields(serde_json::to_value(one).unwrap_or_default());
    let other = fields(serde_json::to_value(other).unwrap_or_default());
    let mut names: Vec<String> = one
        .keys()
        .chain(other.keys())
        .filter(|name| one.get(*name) != other.get(*name))
        .cloned()
        .collect();
    names.sort();
    names.dedup();
    names
}
