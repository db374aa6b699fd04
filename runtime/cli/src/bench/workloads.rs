//! Small runs of the built-in apps, whose inputs they make themselves.

use super::flags::refused;
use crate::{
    apps,
    exit::{ExitCode, Failure},
};
use taps_schema::AppDescription;

/// Flags of each app's run, below `--app.`: seconds in a sandbox on one core, and enough tasks for several.
const FLAGS: [(&str, &[&str]); 8] = [
    ("cholesky", &["matrix-size=1200", "block-size=100"]),
    (
        "docking",
        &["initial-simulations=4", "num-iterations=1", "batch-size=4"],
    ),
    ("fedlearn", &["dataset=generated", "clients=8", "rounds=3"]),
    (
        "mapreduce",
        &[
            "generate=true",
            "generated-files=16",
            "generated-words=200000",
            "map-tasks=16",
        ],
    ),
    ("moldesign", &["initial-count=8", "search-count=16"]),
    ("montage", &["generated-images=4"]),
    ("physics", &["simulations=16"]),
    (
        "synthetic",
        &[
            "structure=bag",
            "task-count=2000",
            "bag-max-running=100",
            "task-data-bytes=10000",
        ],
    ),
];

/// The flags of an app's run.
fn flags(app: &str) -> Option<Vec<String>> {
    let (_, flags) = FLAGS.iter().find(|(name, _)| *name == app)?;
    Some(flags.iter().map(|flag| format!("--app.{flag}")).collect())
}

/// An app and the flags of its run.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    pub(super) app: String,
    pub(super) flags: Vec<String>,
}

/// The apps asked for; where none is named, all built-in ones that need no native program.
pub(super) fn workloads(asked: &[String]) -> Result<Vec<Workload>, Failure> {
    let bundles = apps::built_in()?;
    let described = bundles.iter().map(taps_bundle::Bundle::app);
    let known: Vec<&AppDescription> = described.filter(|app| flags(&app.name).is_some()).collect();
    let chosen: Vec<&AppDescription> = if asked.is_empty() {
        let needs_none = |app: &&&AppDescription| app.programs.is_empty();
        known.iter().filter(needs_none).copied().collect()
    } else {
        let find = |name: &String| {
            let found = known.iter().find(|app| app.name == *name).copied();
            let names: Vec<_> = known.iter().map(|app| app.name.as_str()).collect();
            found.ok_or_else(|| refused("--apps", name, format!("some of {}", names.join(", "))))
        };
        asked.iter().map(find).collect::<Result<_, Failure>>()?
    };
    if chosen.is_empty() {
        let error = "no app is built in that runs without native programs";
        return Err(Failure::new(ExitCode::Usage, error));
    }
    let workload = |app: &AppDescription| Workload {
        app: app.name.clone(),
        flags: flags(&app.name).unwrap_or_default(),
    };
    Ok(chosen.into_iter().map(workload).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_app_has_a_workload() {
        let bundles = apps::built_in().expect("bundles");
        for bundle in bundles {
            let name = &bundle.app().name;
            assert!(flags(name).is_some(), "{name}");
        }
        assert_eq!(bundles.len(), FLAGS.len());
    }

    #[test]
    fn apps_with_programs_have_to_be_named() {
        let names = |asked: &[String]| -> Vec<String> {
            let workloads = workloads(asked).expect("workloads");
            workloads.into_iter().map(|workload| workload.app).collect()
        };
        let all = names(&[]);
        assert!(all.contains(&"cholesky".to_owned()) && !all.contains(&"montage".to_owned()));
        assert_eq!(names(&["montage".to_owned()]), ["montage"]);
        let error = workloads(&["chess".to_owned()])
            .expect_err("no such app")
            .message();
        assert!(
            error.starts_with("--apps: expected some of cholesky, "),
            "{error}"
        );
    }
}
