//! What cannot work says so in time, and names the engine, the setting and what to do.

use super::{DASK, HYPERQUEUE, PARSL, RAY, Turn, action, script};
use crate::{harness::Place, pool::Pool};
use std::path::Path;

const APP: [&str; 3] = [
    "synthetic",
    "--app.structure=sequential",
    "--app.task-count=1",
];

/// Exit code and stderr, without what differs from one machine to another.
fn shown(pool: Pool, python: &Path) -> String {
    let left = pool.end();
    let place = left.place.path().to_str().expect("UTF-8");
    let text = left.stderr.replace(place, "[DIR]");
    let text = text.replace(python.to_str().expect("UTF-8"), "[PYTHON]");
    format!("exit code {:?}\n{text}", left.status.code())
}

/// Compares with a snapshot.
fn compare(name: &str, text: &str) {
    let mut settings = crate::harness::settings();
    for (from, to) in [
        (r"Python \d+\.\d+\.\d+", "Python [VERSION]"),
        (r"\(pid \d+\) on \S+", "(pid [PID]) on [HOST]"),
        (r"worker's host [^;]+", "worker's host [HOST]"),
    ] {
        settings.add_filter(from, to);
    }
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Runs the app with these arguments; gives what it says.
fn said(parts: &[&[&str]]) -> Option<String> {
    let turn = Turn::take()?;
    let parts = [&[&APP[..]], parts].concat();
    Some(shown(turn.start(&parts), &turn.python))
}

#[track_caller]
fn says(name: &str, parts: &[&[&str]]) {
    if let Some(text) = said(parts) {
        compare(name, &text);
    }
}

#[test]
fn no_such_interpreter() {
    let none = ["--executor.python", "/no/such/python"];
    says("no_such_interpreter", &[&DASK, &none]);
}

#[test]
fn packages_are_missing() {
    for (name, engine) in [
        ("no_package_dask", &["--executor=dask"][..]),
        ("no_package_ray", &["--executor=ray"]),
        ("no_package_parsl", &["--executor=parsl-htex"]),
        ("no_package_parsl_local", &["--executor=parsl-local"]),
        (
            "no_package_globus",
            &[
                "--executor=globus",
                "--executor.endpoint=00000000-0000-0000-0000-000000000000",
            ],
        ),
        ("no_package_taskvine", &["--executor=taskvine"]),
        ("no_package_hyperqueue", &["--executor=hyperqueue"]),
    ] {
        let Some(turn) = Turn::take() else { return };
        let place = Place::new();
        let python = turn.python.display();
        // Without what is installed beside it.
        let bare = script(&place, &format!("exec {python} -S \"$@\""));
        let bare = ["--executor.python", bare.to_str().expect("UTF-8")];
        compare(
            name,
            &shown(turn.start_in(place, &[&APP, engine, &bare]), &turn.python),
        );
    }
}

#[test]
fn nobody_listens() {
    let dask = ["--executor=dask", "--executor.scheduler=tcp://127.0.0.1:1"];
    let ray = ["--executor=ray", "--executor.address=127.0.0.1:1"];
    says("no_scheduler_dask", &[&dask]);
    says("no_scheduler_ray", &[&ray]);
}

#[test]
fn no_program_for_workers() {
    let none = ["--executor.worker-binary=/no/such/program"];
    says("no_binary_dask", &[&DASK, &none]);
    says("no_binary_parsl", &[&PARSL, &none]);
}

#[test]
fn another_program_for_workers() {
    let version = r#"head='{"t":"failed","kind":"version","message":"this is taps-wasm 9.9.9"}'
printf "\\$(printf %03o ${#head})\\0\\0\\0\\0\\0\\0\\0%s" "$head" >&0"#;
    for (name, text) in [
        (
            "binary_of_rubbish",
            "echo rubbish, and much more of it >&0; sleep 1",
        ),
        ("binary_that_ends", "echo what is this; exit 3"),
        ("binary_of_another_version", version),
    ] {
        let Some(turn) = Turn::take() else { return };
        let place = Place::new();
        let program = script(&place, text);
        let program = ["--executor.worker-binary", program.to_str().expect("UTF-8")];
        let pool = turn.start_in(place, &[&APP, &DASK, &program]);
        compare(name, &shown(pool, &turn.python));
    }
}

#[test]
fn refused_before_anything_starts() {
    let elsewhere = ["--executor.scheduler=tcp://127.0.0.1:1"];
    let shared = ["--executor.data=shared"];
    says("kept_by_parsl", &[&PARSL, &["--executor.data=engine"]]);
    says(
        "shared_with_nobody",
        &[&["--executor=dask"], &elsewhere, &shared],
    );
    says("shared_memory", &[&DASK, &["--transformer=shared-memory"]]);
    let Some(turn) = Turn::take() else { return };
    let pool = turn.start(&[&["montage"], &DASK]);
    compare("programs", &shown(pool, &turn.python));
}

#[test]
fn what_no_worker_has() {
    let engines = [
        ("infeasible_dask", &DASK[..]),
        ("infeasible_ray", &RAY),
        ("infeasible_parsl", &PARSL),
        ("infeasible_hyperqueue", &HYPERQUEUE),
    ];
    for (name, engine) in engines {
        let Some(turn) = Turn::take() else { return };
        let left = turn.start(&[&action("special"), engine]).end();
        left.expect(0);
        let tasks = left.tasks();
        assert_eq!(tasks.len(), 2);
        for task in &tasks {
            assert_eq!(task["exception"]["type"], "infeasible-resources", "{task}");
            assert_eq!(task["executions"], 0, "{task}");
        }
        let values = left.json()["values"].clone();
        let said = ["refused", "cores"].map(|name| values[name].as_str().expect("text").to_owned());
        compare(name, &said.join("\n"));
    }
}
