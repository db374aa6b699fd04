//! What a manifest, and the parts of a bundle, have to fulfil.

use crate::{
    BundleError, COMPONENT_MAGIC, ComponentEntry, DataEntry, MANIFEST_FILE, Manifest, capabilities,
    imports::{self, Package, PoolNeeds},
};
use std::{borrow::Cow, collections::HashSet};
use taps_schema::WIT_VERSION;

/// Components of a bundle, at most.
const COMPONENTS: usize = 256;

/// Bytes of a name within a bundle, at most.
const NAME_BYTES: usize = 255;

/// Checks everything that can be known from the manifest alone.
pub(crate) fn manifest(manifest: &Manifest) -> Result<(), BundleError> {
    let app = &manifest.app;
    if !compatible(&app.wit_version) {
        return Err(BundleError::WitVersion {
            app: app.name.clone(),
            found: app.wit_version.clone(),
            expected: WIT_VERSION,
        });
    }
    paths(manifest)?;
    routes(manifest)?;
    imported(manifest)?;
    capabilities::check(manifest)?;
    for name in manifest.defaults.keys().chain(
        manifest
            .expected
            .iter()
            .flat_map(|expected| expected.config.keys()),
    ) {
        if !app.config.iter().any(|field| field.name == *name) {
            return inconsistent(
                manifest,
                format!("`{name}` has a value, but the app has no such field"),
            );
        }
    }
    Ok(())
}

fn inconsistent(manifest: &Manifest, reason: String) -> Result<(), BundleError> {
    Err(BundleError::Inconsistent {
        app: manifest.app.name.clone(),
        reason,
    })
}

/// Names that lead out of the bundle, or that two things have.
pub(crate) fn paths(manifest: &Manifest) -> Result<(), BundleError> {
    if manifest.components.is_empty() || manifest.components.len() > COMPONENTS {
        return inconsistent(
            manifest,
            format!(
                "it has {} components; expected 1 to {COMPONENTS}",
                manifest.components.len()
            ),
        );
    }
    let mut files = HashSet::from([MANIFEST_FILE]);
    for ComponentEntry { file, .. } in &manifest.components {
        if !inside(file) || file.contains('/') {
            return inconsistent(
                manifest,
                format!("component file `{file}` lies outside of the bundle"),
            );
        }
        if !files.insert(file) {
            return inconsistent(manifest, format!("component file `{file}` is there twice"));
        }
    }
    let mut names = HashSet::new();
    for entry in &manifest.data {
        data_entry(manifest, entry)?;
        if !names.insert(entry.name.as_str()) {
            return inconsistent(manifest, format!("data `{}` is there twice", entry.name));
        }
    }
    // A blob cannot lie below another one.
    let below = names.iter().find_map(|name| {
        let ends = name.match_indices('/').map(|(at, _)| &name[..at]);
        ends.into_iter().find(|folder| names.contains(folder))
    });
    below.map_or(Ok(()), |name| {
        inconsistent(
            manifest,
            format!("data `{name}` is a file and a folder of other data"),
        )
    })
}

fn data_entry(manifest: &Manifest, entry: &DataEntry) -> Result<(), BundleError> {
    let name = &entry.name;
    if !inside(name) {
        return inconsistent(
            manifest,
            format!("data `{name}` lies outside of the bundle"),
        );
    }
    let web = |url: &String| url.starts_with("https://") || url.starts_with("http://");
    match &entry.url {
        Some(url) if !web(url) => inconsistent(
            manifest,
            format!("data `{name}` has the URL `{url}`; expected `https://…` or `http://…`"),
        ),
        _ if entry.media_type.is_empty() || entry.media_type.len() > NAME_BYTES => inconsistent(
            manifest,
            format!("data `{name}` has no media type, or one that is too long"),
        ),
        _ => Ok(()),
    }
}

/// Whether a relative path with `/` stays where it is, on every system.
fn inside(path: &str) -> bool {
    path.len() <= NAME_BYTES
        && !path.contains(|c: char| c == '\\' || c == ':' || c.is_control())
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

fn routes(manifest: &Manifest) -> Result<(), BundleError> {
    let app = &manifest.app;
    if manifest.routes.len() != app.tasks.len() {
        return inconsistent(
            manifest,
            format!(
                "{} tasks but {} routes",
                app.tasks.len(),
                manifest.routes.len()
            ),
        );
    }
    for (task, route) in app.tasks.iter().zip(&manifest.routes) {
        if route.component as usize >= manifest.components.len() {
            return inconsistent(
                manifest,
                format!(
                    "task {} lives in component {}, but there are {}",
                    task.name,
                    route.component,
                    manifest.components.len()
                ),
            );
        }
        let unknown = task.grants.iter().find(|grant| {
            !app.config
                .iter()
                .any(|field| &field.name == *grant && field.kind.is_path())
        });
        if let Some(grant) = unknown {
            return inconsistent(
                manifest,
                format!(
                    "task {} asks for `{grant}`, which is no path in the configuration",
                    task.name
                ),
            );
        }
    }
    Ok(())
}

fn imported(manifest: &Manifest) -> Result<(), BundleError> {
    let mut entries = manifest.components.iter();
    entries.try_for_each(|entry| check_imports(&entry.file, &entry.imports))
}

/// Refuses imports of a component that no host offers, or that are of another version.
///
/// # Errors
/// [`BundleError::Import`] and [`BundleError::WitVersion`], which name the component.
pub fn check_imports(name: &str, imports: &[String]) -> Result<(), BundleError> {
    for import in imports {
        if Package::of(import) == Package::Unknown {
            return Err(BundleError::Import {
                name: name.to_owned(),
                import: import.clone(),
            });
        }
        if let Some(version) = core_version(import).filter(|found| !compatible(found)) {
            return Err(BundleError::WitVersion {
                app: name.to_owned(),
                found: version.to_owned(),
                expected: WIT_VERSION,
            });
        }
    }
    Ok(())
}

fn core_version(name: &str) -> Option<&str> {
    name.strip_prefix("taps:core/")
        .map(|interface| interface.split_once('@').map_or("", |(_, version)| version))
}

/// Whether a component built against `version` of the interface works with this build:
/// major and minor agree while the major is 0.
fn compatible(version: &str) -> bool {
    let series = |v: &str| v.rsplit_once('.').map(|(series, _)| series.to_owned());
    series(version) == series(WIT_VERSION)
}

/// Checks a manifest with the bytes that belong to it.
pub(crate) fn parts(
    of: &Manifest,
    components: &[Cow<'static, [u8]>],
    data: &[Cow<'static, [u8]>],
) -> Result<(), BundleError> {
    manifest(of)?;
    let included = of.data.iter().filter(|entry| entry.url.is_none());
    let counts = [
        ("components", of.components.len(), components.len()),
        ("blobs of data", included.clone().count(), data.len()),
    ];
    for (what, stated, found) in counts {
        if stated != found {
            return inconsistent(
                of,
                format!("it lists {stated} {what}, but {found} are there"),
            );
        }
    }
    let sizes = of
        .components
        .iter()
        .map(|entry| (&entry.file, entry.size))
        .chain(included.map(|entry| (&entry.name, entry.size)));
    for ((name, expected), bytes) in sizes.zip(components.iter().chain(data)) {
        let found = bytes.len() as u64;
        if found != expected {
            return Err(BundleError::Size {
                name: name.clone(),
                found,
                expected,
            });
        }
    }
    for (entry, bytes) in of.components.iter().zip(components) {
        check_component_header(&entry.file, bytes)?;
    }
    Ok(())
}

/// Compares what components are with what the manifest says of them.
pub(crate) fn components(
    manifest: &Manifest,
    components: &[Cow<'static, [u8]>],
) -> Result<(), BundleError> {
    for (index, (entry, bytes)) in manifest.components.iter().zip(components).enumerate() {
        let scan = imports::scan(&entry.file, bytes)?;
        let name = || entry.file.clone();
        let hidden = scan
            .imports
            .iter()
            .find(|import| !entry.imports.contains(import));
        if let Some(import) = hidden {
            return Err(BundleError::Hidden {
                name: name(),
                import: import.clone(),
            });
        }
        needs(entry, scan.needs)?;
        let tasks = manifest
            .routes
            .iter()
            .any(|route| route.component as usize == index);
        let driver = index == 0 && manifest.app.driver;
        let roles = [("driver", driver), ("tasks", tasks)];
        for (interface, _) in roles.into_iter().filter(|(_, wanted)| *wanted) {
            let export = scan.exports.iter().find(|export| {
                export
                    .strip_prefix("taps:core/")
                    .and_then(|rest| rest.split('@').next())
                    == Some(interface)
            });
            let version = export.and_then(|export| core_version(export));
            match version {
                Some(version) if compatible(version) => {}
                Some(version) => {
                    return Err(BundleError::WitVersion {
                        app: name(),
                        found: version.to_owned(),
                        expected: WIT_VERSION,
                    });
                }
                None => {
                    return Err(BundleError::Export {
                        name: name(),
                        export: format!("taps:core/{interface}@{WIT_VERSION}"),
                    });
                }
            }
        }
    }
    Ok(())
}

fn needs(entry: &ComponentEntry, found: PoolNeeds) -> Result<(), BundleError> {
    let pairs = [
        ("core instances", found.core_instances, entry.core_instances),
        ("memories", found.memories, entry.memories),
        ("tables", found.tables, entry.tables),
    ];
    match pairs.into_iter().find(|(_, found, stated)| found > stated) {
        None => Ok(()),
        Some((what, found, stated)) => Err(BundleError::Needs {
            name: entry.file.clone(),
            what,
            found,
            stated,
        }),
    }
}

/// Checks that bytes start as a component does.
pub fn check_component_header(name: &str, bytes: &[u8]) -> Result<(), BundleError> {
    if bytes.get(..4) != Some(&COMPONENT_MAGIC[..4]) {
        return Err(BundleError::NotWasm {
            name: name.to_owned(),
        });
    }
    if bytes.get(4..8) != Some(&COMPONENT_MAGIC[4..]) {
        return Err(BundleError::CoreModule {
            name: name.to_owned(),
        });
    }
    Ok(())
}
