//! The built-in apps, as bundles embedded in the binary.
//!
//! The same crates are linked natively: their descriptions come from there, without running a
//! component at start-up, and the `native` executor calls their tasks.

use std::borrow::Cow;
use taps_bundle::{
    Bundle, BundleError, ComponentEntry, Digest, Manifest, MemoryProfile, Source, TaskRoute,
};
use taps_schema::{AppDescription, TaskDescription, WIT_VERSION};

// Linked for their registrations.
use taps_cholesky as _;
use taps_docking as _;
use taps_fedlearn as _;
use taps_mapreduce as _;
use taps_moldesign as _;
use taps_montage as _;
use taps_physics as _;
use taps_synthetic as _;

struct Embedded {
    package: &'static str,
    app: Part,
    tasks: Part,
}

struct Part {
    digest: [u8; 32],
    component: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// All built-in apps, by name.
pub fn bundles() -> Result<Vec<Bundle>, BundleError> {
    let mut bundles = EMBEDDED.iter().map(bundle).collect::<Result<Vec<_>, _>>()?;
    bundles.sort_by(|a, b| a.app().name.cmp(&b.app().name));
    Ok(bundles)
}

/// Cargo package of a built-in app, by which its tasks are found natively.
pub fn package(app: &str) -> Option<&'static str> {
    taps::apps()
        .find(|entry| entry.name == app)
        .map(|entry| entry.package)
}

/// Package of the tasks that go wrong on purpose, by which they are found natively.
pub const FAULTS_PACKAGE: &str = "taps-faults";

/// The one of them that is written in text, see `division.wat`.
const ZERO_DIVISION: &str = "zero-division";

/// The tasks that go wrong on purpose, for [`Bundle::with_faults`]. They are no app.
pub fn faults() -> Result<Bundle, BundleError> {
    let entries = taps::tasks(FAULTS_PACKAGE);
    let route = |(index, entry): (usize, &&taps::TaskEntry)| match entry.name {
        ZERO_DIVISION => TaskRoute {
            component: 1,
            task: 0,
        },
        _ => TaskRoute {
            component: 0,
            task: index as u32,
        },
    };
    let routes = entries.iter().enumerate().map(route).collect();
    let task = |entry: &taps::TaskEntry| TaskDescription {
        name: entry.name.to_owned(),
        help: entry.help.to_owned(),
        parameters: Vec::new(),
        outputs: Vec::new(),
        pure: false,
        grants: Vec::new(),
        programs: Vec::new(),
    };
    let component = |file: &str, bytes, digest| {
        Ok::<_, BundleError>(ComponentEntry {
            // That of most apps: they share one engine then.
            memory: MemoryProfile::Windows,
            ..ComponentEntry::scan(file, bytes, digest)?
        })
    };
    let app = AppDescription {
        name: "faults".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        wit_version: WIT_VERSION.to_owned(),
        summary: "Tasks that go wrong on purpose.".to_owned(),
        driver: false,
        config: Vec::new(),
        tasks: entries.iter().map(|entry| task(entry)).collect(),
        programs: Vec::new(),
        nans: taps_schema::Nans::Canonical,
    };
    let division = taps_faults::DIVISION;
    let entries = vec![
        component(
            "faults.wasm",
            FAULTS.component,
            Digest::from_bytes(FAULTS.digest),
        )?,
        component("faults-division.wasm", division, Digest::of(division))?,
    ];
    let manifest = Manifest::new(app, entries, routes);
    let components = vec![
        Cow::Borrowed(FAULTS.component),
        Cow::Borrowed(taps_faults::DIVISION),
    ];
    Bundle::from_parts(manifest, components, Source::Embedded)
}

fn bundle(embedded: &Embedded) -> Result<Bundle, BundleError> {
    let entry = taps::apps()
        .find(|entry| entry.package == embedded.package)
        .ok_or_else(|| BundleError::Inconsistent {
            app: embedded.package.to_owned(),
            reason: "the crate registers no app".to_owned(),
        })?;
    let description = entry.describe();
    let name = description.name.clone();
    let part = |file: String, part: &Part| {
        (
            file,
            Cow::Borrowed(part.component),
            Digest::from_bytes(part.digest),
        )
    };
    // The driver runs in the whole app; the tasks in a component of their own, which costs less to
    // instantiate.
    let components = vec![
        part(format!("{name}.wasm"), &embedded.app),
        part(format!("{name}-tasks.wasm"), &embedded.tasks),
    ];
    Bundle::from_components(description, components, 1, Source::Embedded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_app_is_found_by_name() {
        let bundles = bundles().expect("consistent");
        assert_eq!(bundles.len(), EMBEDDED.len());
        for bundle in bundles {
            let app = bundle.app();
            assert!(app.driver && !app.tasks.is_empty(), "{}", app.name);
            assert!(package(&app.name).is_some_and(|package| !taps::tasks(package).is_empty()));
        }
    }

    #[test]
    fn faults_are_lent_to_a_bundle_and_are_no_app() {
        assert!(
            bundles()
                .expect("consistent")
                .iter()
                .all(|bundle| bundle.app().name != "faults")
        );
        assert_eq!(package("faults"), None);
        let faults = faults().expect("consistent");
        for plain in bundles().expect("consistent") {
            let (app, digests) = (plain.app().clone(), plain.own_manifest().components.clone());
            let lent = plain.with_faults(&faults);
            assert_eq!(lent.app(), &app, "its own description stays");
            assert_eq!(lent.own_manifest().components, digests);
            let manifest = lent.manifest();
            assert_eq!(manifest.components.len(), digests.len() + 2);
            assert_eq!(manifest.app.tasks.len(), app.tasks.len() + 8);
            let (task, route) = manifest
                .app
                .tasks
                .iter()
                .zip(&manifest.routes)
                .find(|(task, _)| task.name == "fault:injected-parent")
                .expect("a driver's engine finds it as any other");
            assert!(task.outputs.is_empty());
            assert_eq!(route.component as usize, digests.len());
        }
    }
}
