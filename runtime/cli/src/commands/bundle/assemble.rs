//! From a recipe to a bundle: components are built or read, asked what they are, and put together.

use super::{crates, recipe::Component, recipe::Recipe};
use crate::apps;
use crate::exit::{ExitCode, Failure};
use serde_json::{Map, Value};
use std::{borrow::Cow, fs, path::Path};
use taps_bundle::{
    Bundle, ComponentEntry, DataEntry, Digest, Expected, Instances, Manifest, Source, TaskRoute,
    check_imports, scan,
};
use taps_config::{describe_kind, nearest};
use taps_sandbox::Sandbox;
use taps_schema::{AppDescription, FieldKind};

/// Components from this size on carry an interpreter: their sandboxes are made ahead of time unless a recipe says
/// otherwise.
const LARGE_BYTES: usize = 4 << 20;

/// A component on its way into a bundle.
pub(super) struct Piece {
    /// Its field in the recipe.
    field: String,
    /// Which file it came from.
    from: String,
    entry: ComponentEntry,
    bytes: Vec<u8>,
    /// What it says of itself; none if it only has the tasks of the one before it.
    description: Option<AppDescription>,
}

/// Builds or reads the components of a recipe, and asks each what it is.
pub(super) fn pieces(
    recipe: &Recipe,
    directory: &Path,
    offline: bool,
) -> Result<Vec<Piece>, Failure> {
    let sandbox = apps::sandbox()?;
    let mut pieces: Vec<Piece> = Vec::new();
    for (index, component) in recipe.component.iter().enumerate() {
        let field = format!("component[{index}]");
        let mut add = |path: &Path, part: Option<&str>| {
            let before = pieces
                .iter()
                .rev()
                .find_map(|piece| piece.description.as_ref());
            let piece = piece(&sandbox, component, &field, path, part, before)?;
            pieces.push(piece);
            Ok(())
        };
        if let Some(source) = &component.source {
            let tasks = component.tasks_component.unwrap_or(true);
            let built = crates::build(&directory.join(source), tasks, offline)?;
            add(&built.whole, Some(""))?;
            if let Some(tasks) = built.tasks {
                add(&tasks, Some("-tasks"))?;
            }
        } else if let Some(file) = &component.file {
            add(&directory.join(file), None)?;
        }
    }
    Ok(pieces)
}

/// Reads one component. One that was built is called after its app, with `suffix`.
fn piece(
    sandbox: &Sandbox,
    component: &Component,
    field: &str,
    path: &Path,
    suffix: Option<&str>,
    before: Option<&AppDescription>,
) -> Result<Piece, Failure> {
    let from = path.display().to_string();
    let unreadable = |error| Failure::new(ExitCode::Bundle, format!("read {from}: {error}"));
    let bytes = fs::read(path).map_err(unreadable)?;
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let refused = |error| Failure::new(ExitCode::Bundle, error);
    let description = describe(sandbox, &file, &bytes)?;
    let of = description.as_ref().or(before);
    let name = match (suffix, of) {
        (Some(suffix), Some(app)) => format!("{}{suffix}.wasm", app.name),
        _ => file.into_owned(),
    };
    let mut entry = ComponentEntry::of(&name, &bytes).map_err(refused)?;
    let large = bytes.len() >= LARGE_BYTES;
    let suits = component.instances;
    entry.instances = suits.or(large.then_some(Instances::Prewarmed));
    entry.memory = component.memory.unwrap_or_default();
    Ok(Piece {
        field: field.to_owned(),
        from,
        entry,
        bytes,
        description,
    })
}

/// What a component says of itself; none if it has no such export.
pub(super) fn describe(
    sandbox: &Sandbox,
    file: &str,
    bytes: &[u8],
) -> Result<Option<AppDescription>, Failure> {
    let refused = |error| Failure::new(ExitCode::Bundle, error);
    let scan = scan(file, bytes).map_err(refused)?;
    // Before the long part.
    check_imports(file, &scan.imports).map_err(refused)?;
    let describes = |export: &String| export.starts_with("taps:core/description@");
    if !scan.exports.iter().any(describes) {
        return Ok(None);
    }
    let described = sandbox.describe(file, bytes);
    described
        .map(Some)
        .map_err(|error| Failure::new(ExitCode::Bundle, error))
}

/// Puts the components together.
pub(super) fn bundle(
    recipe: &Recipe,
    directory: &Path,
    pieces: Vec<Piece>,
) -> Result<Bundle, Failure> {
    let refused = |error| Failure::new(ExitCode::Bundle, error);
    let (mut app, routes) = merged(recipe, &pieces)?;
    if let Some(description) = &recipe.bundle.description {
        app.summary.clone_from(description);
    }
    let (entries, bytes): (Vec<_>, Vec<_>) = pieces
        .into_iter()
        .map(|piece| (piece.entry, Cow::Owned(piece.bytes)))
        .unzip();
    let mut manifest = Manifest::new(app, entries, routes);
    manifest
        .capabilities
        .memory_limit
        .clone_from(&recipe.limits.memory);
    manifest.capabilities.wall_limit_s = recipe.limits.wall_s;
    manifest.licence.clone_from(&recipe.bundle.licence);
    manifest.sources.clone_from(&recipe.bundle.sources);
    manifest.defaults = values(recipe, "defaults", &recipe.defaults, &manifest.app)?;
    for (index, expected) in recipe.expected.iter().enumerate() {
        let field = format!("expected[{index}].config");
        manifest.expected.push(Expected {
            config: values(recipe, &field, &expected.config, &manifest.app)?,
            values: expected.values.clone(),
        });
    }
    let data = data(recipe, directory, &mut manifest)?;
    let bundle = Bundle::with_data(manifest, bytes, data, Source::Directory(directory.into()));
    let bundle = bundle.map_err(refused)?;
    bundle.verify().map_err(refused)?;
    Ok(bundle)
}

/// The description of the app with the tasks of all components, and where each lives.
fn merged(recipe: &Recipe, pieces: &[Piece]) -> Result<(AppDescription, Vec<TaskRoute>), Failure> {
    let first = &pieces[0];
    let app = first.description.as_ref().filter(|app| app.driver);
    let Some(app) = app else {
        let expected = "a component with a driver first; libraries of tasks come after it";
        return Err(recipe.wrong(&first.field, &first.from, expected));
    };
    let mut app = app.clone();
    app.tasks.clear();
    let mut routes = Vec::new();
    let mut from: Vec<&str> = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let Some(described) = &piece.description else {
            continue;
        };
        // The tasks alone are in a smaller component, whose sandboxes cost less.
        let alone = pieces
            .get(index + 1)
            .is_some_and(|next| next.description.is_none());
        let component = (index + usize::from(alone)) as u32;
        for (task, description) in described.tasks.iter().enumerate() {
            if let Some(other) = app
                .tasks
                .iter()
                .position(|other| other.name == description.name)
            {
                let expected = format!("a name that no task of {} has", from[other]);
                let field = format!("{}, task", piece.field);
                return Err(recipe.wrong(&field, &description.name, &expected));
            }
            app.tasks.push(description.clone());
            from.push(&piece.from);
            routes.push(TaskRoute {
                component,
                task: task as u32,
            });
        }
        for program in &described.programs {
            if !app.programs.iter().any(|known| known.name == program.name) {
                app.programs.push(program.clone());
            }
        }
    }
    Ok((app, routes))
}

/// Values of fields of the app, by the names that the fields have.
fn values(
    recipe: &Recipe,
    field: &str,
    given: &Map<String, Value>,
    app: &AppDescription,
) -> Result<Map<String, Value>, Failure> {
    let mut checked = Map::new();
    for (key, value) in given {
        let name = key.replace('-', "_");
        let place = format!("{field}.{key}");
        let Some(known) = app.config.iter().find(|field| field.name == name) else {
            let names = app.config.iter().map(|field| field.name.as_str());
            let near = nearest(&name, names.clone()).map_or_else(
                || names.collect::<Vec<_>>().join(", "),
                |near| format!("`{near}`"),
            );
            return Err(recipe.wrong(&place, value, &format!("a field of the app: {near}")));
        };
        let absent = known.optional && (value.is_null() || value == "none");
        if !absent && !fits(&known.kind, value) {
            return Err(recipe.wrong(&place, value, &describe_kind(&known.kind)));
        }
        checked.insert(name, value.clone());
    }
    Ok(checked)
}

/// Whether a value is of a kind; what it means is for the app to say.
fn fits(kind: &FieldKind, value: &Value) -> bool {
    match kind {
        FieldKind::Bool => value.is_boolean(),
        FieldKind::Integer { min, max } => value.as_i64().is_some_and(|number| {
            min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max)
        }),
        FieldKind::Float { min, max } => value.as_f64().is_some_and(|number| {
            min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max)
        }),
        FieldKind::Enum { values } => value.as_str().is_some_and(|word| {
            let word = word.replace('_', "-");
            values.iter().any(|known| known.eq_ignore_ascii_case(&word))
        }),
        FieldKind::List { item } => {
            let items = value.as_array();
            items.is_some_and(|items| items.iter().all(|value| fits(item, value)))
        }
        FieldKind::Table => value.is_object(),
        FieldKind::String | FieldKind::InputFile | FieldKind::InputDir | FieldKind::OutputDir => {
            value.is_string()
        }
    }
}

/// Puts the blobs of data on the manifest's list, and reads those that are included.
fn data(
    recipe: &Recipe,
    directory: &Path,
    manifest: &mut Manifest,
) -> Result<Vec<Cow<'static, [u8]>>, Failure> {
    let mut included = Vec::new();
    for (index, data) in recipe.data.iter().enumerate() {
        let (digest, size) = if let Some(file) = &data.file {
            let path = directory.join(file);
            let bytes = fs::read(&path).map_err(|error| {
                let field = format!("data[{index}].file");
                recipe.wrong(&field, path.display(), &format!("a file to read: {error}"))
            })?;
            let found = (Digest::of(&bytes), bytes.len() as u64);
            included.push(Cow::Owned(bytes));
            found
        } else {
            let sha256 = data.sha256.as_deref().unwrap_or_default();
            let digest = Digest::from_hex(sha256).map_err(|error| {
                recipe.wrong(&format!("data[{index}].sha256"), sha256, &error.to_string())
            })?;
            (digest, data.size.unwrap_or_default())
        };
        manifest.data.push(DataEntry {
            name: data.name.clone(),
            digest,
            size,
            media_type: data
                .media_type
                .clone()
                .unwrap_or_else(|| "application/octet-stream".to_owned()),
            url: data.url.clone(),
        });
    }
    Ok(included)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_fit_their_kinds() {
        let integer = FieldKind::Integer {
            min: Some(1),
            max: Some(5),
        };
        let words = FieldKind::Enum {
            values: vec!["two-d".to_owned()],
        };
        let list = FieldKind::List {
            item: Box::new(integer.clone()),
        };
        for (kind, good, bad) in [
            (&integer, json!(5), json!(6)),
            (&integer, json!(1), json!("1")),
            (&words, json!("Two_D"), json!("three")),
            (&list, json!([1, 2]), json!([0])),
            (&FieldKind::InputFile, json!("bundle:a.txt"), json!(1)),
            (&FieldKind::Bool, json!(true), json!("true")),
        ] {
            assert!(fits(kind, &good), "{kind:?} {good}");
            assert!(!fits(kind, &bad), "{kind:?} {bad}");
        }
    }
}
