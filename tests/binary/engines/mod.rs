//! Engines of others, for real: the same results as without them, the same outcomes, and nothing left behind. The
//! environment variable `TAPS_ENGINES_PYTHON` names an interpreter that has their packages.

mod apps;
mod bad_input;
mod clusters;
mod doctor;
mod losses;
mod outcomes;

use crate::{
    harness::{Place, engines_python, names, probe},
    pool::Pool,
};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// An engine with two workers.
const DASK: [&str; 2] = ["--executor=dask", "--executor.workers=2"];
const RAY: [&str; 2] = ["--executor=ray", "--executor.num-cpus=2"];
const PARSL: [&str; 2] = [
    "--executor=parsl-htex",
    "--executor.htex={\"max_workers_per_node\": 2}",
];
const HYPERQUEUE: [&str; 2] = ["--executor=hyperqueue", "--executor.workers=2"];

const PARSL_LOCAL: [&str; 2] = ["--executor=parsl-local", "--executor.workers=2"];

/// With the stand-in of its package that the tests of the bridge have.
const TASKVINE: [&str; 3] = [
    "--executor=taskvine",
    "--executor.workers=2",
    "--executor.serverless=false",
];

/// With an endpoint in the bridge's process.
const GLOBUS: [&str; 2] = [
    "--executor=globus",
    "--executor.endpoint=00000000-0000-0000-0000-000000000001",
];

/// What the others are compared with.
const THREADS: [&str; 2] = ["--executor=thread-pool", "--executor.max-threads=2"];

/// Results stay with the engine.
const KEPT: [&str; 1] = ["--executor.data=engine"];

/// An interpreter, and the right to run an engine: each starts many processes, and so only two run at a time.
struct Turn {
    python: PathBuf,
    _guard: MutexGuard<'static, ()>,
}

impl Turn {
    /// Waits for it; none where there are no engines.
    fn take() -> Option<Self> {
        static TURNS: [Mutex<()>; 2] = [const { Mutex::new(()) }; 2];
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let python = engines_python()?;
        let turn = &TURNS[NEXT.fetch_add(1, Ordering::Relaxed) % TURNS.len()];
        Some(Self {
            python,
            // A test that failed holds nothing.
            _guard: turn.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }

    /// Starts a run.
    fn start(&self, parts: &[&[&str]]) -> Pool {
        self.start_in(Place::new(), parts)
    }

    /// Starts a run in a place that has been prepared.
    fn start_in(&self, place: Place, parts: &[&[&str]]) -> Pool {
        let parts = parts.concat();
        // A later one would win.
        let own = parts.contains(&"--executor.python");
        let python = if is_played(&parts) && !own {
            players(&place, &self.python)
        } else {
            self.python.clone()
        };
        let python = python.to_str().expect("UTF-8");
        let python = ["--executor.python", python];
        let python = if own { &[][..] } else { &python[..] };
        let quiet = ["--log-level=ERROR"];
        let told = parts.iter().any(|part| part.starts_with("--log-level"));
        let quiet = if told { &[][..] } else { &quiet[..] };
        let args = [&["run"], &parts[..], python, quiet, &["--json"]];
        Pool::command(place, &args.concat())
    }
}

/// Whether the engine is one of which no test has the service or the package.
fn is_played(args: &[&str]) -> bool {
    args.contains(&TASKVINE[0]) || args.contains(&GLOBUS[0])
}

/// An interpreter that finds what plays those, which the tests of the bridge have.
fn players(place: &Place, python: &Path) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../host-executors/python/tests");
    let tests = tests.canonicalize().expect("the tests of the bridge");
    let (tests, python) = (tests.display(), python.display());
    script(
        place,
        &format!(
            "export PYTHONPATH='{tests}/fake_ndcctools:{tests}' TAPS_GLOBUS_TEST_CLIENT=globus_local:client HOME=$PWD\n\
             exec '{python}' \"$@\""
        ),
    )
}

/// A program in a place of its own.
fn script(place: &Place, text: &str) -> PathBuf {
    let path = place.write("program", format!("#!/bin/sh\n{text}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make it executable");
    path
}

/// The probe with an action.
fn action(action: &'static str) -> [&'static str; 3] {
    [probe(), "--app.action", action]
}

/// What a run found out: values but durations, checks, and the files of its app.
#[derive(Debug, PartialEq)]
struct Found {
    values: Map<String, Value>,
    checks: Value,
    files: BTreeMap<String, Vec<u8>>,
}

impl Found {
    #[track_caller]
    fn of(json: &Value, run: &Path) -> Self {
        let mut values = json["values"].as_object().expect("values").clone();
        values.retain(|name, _| !name.ends_with("seconds"));
        let mut files = BTreeMap::new();
        for folder in ["data", "images"] {
            let folder = run.join(folder);
            for name in names(&folder) {
                let bytes = fs::read(folder.join(&name)).expect("read a file");
                files.insert(name, bytes);
            }
        }
        let checks = json["checks"].clone();
        Self {
            values,
            checks,
            files,
        }
    }
}
