//! The built-in apps, as bundles embedded in the binary.
//!
//! The same crates are linked natively: their descriptions come from there, without running a
//! component at start-up, and the `native` executor calls their tasks.

use std::borrow::Cow;
use taps_bundle::{Bundle, BundleError, Digest, Source};

// Linked for their registrations.
use taps_cholesky as _;
use taps_mapreduce as _;
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
}
