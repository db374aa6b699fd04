//! Native programs, called by tasks: files pass from one to the next, and all that goes wrong has an
//! outcome and leaves nothing.

use crate::harness::{Ended, Place, names, run_dir, snapshot, tasks};
use serde_json::{Value, json};
use std::{fs, path::Path, time::Duration};

/// No run here may take longer, whatever its programs do: far below what they would like.
const SOON: Duration = Duration::from_secs(20);

const ALLOWED: &str = "--allow-programs=cat,cp,seq,sh,sleep,sort,yes,no-such-program";

const POOLS: [&str; 2] = ["--executor=thread-pool", "--executor=process-pool"];

fn app() -> &'static str {
    taps_fixtures::program_probe().to_str().expect("UTF-8")
}

/// A run that has ended, and what is left of it.
struct Left {
    ended: Ended,
    json: Value,
    place: Place,
}

#[track_caller]
fn run(action: &str, more: &[&str]) -> Left {
    let place = Place::new();
    let action = format!("--app.action={action}");
    let args = [&[app(), &action, ALLOWED][..], more].concat();
    let (ended, json) = place.json(&args);
    assert!(ended.elapsed < SOON, "{:?}", ended.elapsed);
    Left { ended, json, place }
}

impl Left {
    fn tasks(&self) -> Vec<Value> {
        tasks(&run_dir(&self.json))
    }

    /// The record of the task that goes wrong.
    fn wrong(&self) -> Value {
        let mut tasks = self.tasks();
        assert_eq!(tasks.len(), 1, "{tasks:?}");
        tasks.remove(0)
    }

    /// Whether programs left nothing where they worked.
    fn is_clean(&self) -> bool {
        !names(&run_dir(&self.json))
            .iter()
            .any(|name| name == "programs")
    }
}

/// Processes that run one of the endless programs for a test in this directory.
fn endless(directory: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("there is one").flatten();
    let works = |entry: fs::DirEntry| {
        let there = fs::read_link(entry.path().join("cwd")).ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        there
            .starts_with(directory.canonicalize().ok()?)
            .then(|| String::from_utf8_lossy(&line).into_owned())
    };
    processes.filter_map(works).collect()
}

#[test]
fn files_pass_from_program_to_program() {
    let mut values = Vec::new();
    for pool in POOLS {
        let left = run("chain", &[pool]);
        left.ended.expect(0);
        assert_eq!(left.json["tasks"]["succeeded"], 9);
        assert!(left.is_clean(), "{:?}", names(&run_dir(&left.json)));
        let tasks = left.tasks();
        let copies = tasks
            .iter()
            .find(|task| task["name"] == "copies")
            .expect("three");
        // Neither the argument nor the results were read into the sandbox, or copied.
        assert_eq!(copies["inputs"][0]["way"], "linked", "{copies}");
        assert_eq!(copies["outputs"][1]["way"], "linked", "{copies}");
        assert_eq!(copies["copies"], 0, "{copies}");
        let used = &copies["programs"][0];
        assert_eq!(
            (&used["program"], &used["exit_code"]),
            (&json!("cp"), &json!(0))
        );
        assert_eq!(used["input_bytes"], used["output_bytes"]);
        assert!(used["peak_memory_bytes"].as_u64() > Some(100_000), "{used}");
        let confinement = used["confinement"].as_str().expect("text");
        assert!(
            confinement.starts_with("process group, limits"),
            "{confinement}"
        );
        let environment = fs::read(run_dir(&left.json).join("environment.json")).expect("a file");
        let environment: Value = serde_json::from_slice(&environment).expect("JSON");
        let cat = environment["natives"]["cat"].as_str().expect("text");
        assert!(
            cat.starts_with("cat (") && cat.contains("/cat; sha256 "),
            "{cat}"
        );
        assert_eq!(environment["natives"].get("no-such-program"), None);
        values.push(left.json["values"].clone());
    }
    assert_eq!(values[0]["lines-0"], 2000);
    assert_eq!(values[0], values[1]);
}

#[test]
fn a_file_given_twice_is_two_results() {
    run("twice", &[]).ended.expect(0);
}

#[test]
fn what_goes_wrong_has_an_outcome() {
    for pool in POOLS {
        for (action, outcome, exit, signal, message) in [
            (
                "fail",
                "program-error",
                json!(1),
                json!(null),
                "it failed (exit code 1); it said: cat: no-such-file",
            ),
            (
                "hang-limited",
                "program-error",
                json!(null),
                json!(9),
                "ran longer than its time limit of 200ms",
            ),
            (
                "flood",
                "program-error",
                json!(null),
                json!(9),
                "programs.output_limit = 16777216 bytes",
            ),
            (
                "missing",
                "program-error",
                json!(null),
                json!(null),
                "is not installed: `no-such-program` is in no directory",
            ),
            (
                "unlisted",
                "program-error",
                json!(null),
                json!(null),
                "is not allowed: the task lists cat, no-such-program",
            ),
            (
                "nothing",
                "program-error",
                json!(0),
                json!(null),
                "it wrote no file `result` (exit code 0)",
            ),
            (
                "crash",
                "program-error",
                json!(null),
                json!(11),
                "it failed (signal 11)",
            ),
            (
                "outside",
                "program-error",
                json!(null),
                json!(null),
                "no relative path",
            ),
        ] {
            let left = run(action, &[pool]);
            left.ended.expect(1);
            let task = left.wrong();
            let text = format!("{action}: {task}");
            assert_eq!(task["outcome"], outcome, "{text}");
            assert_eq!(
                (&task["exit_code"], &task["signal"]),
                (&exit, &signal),
                "{text}"
            );
            let said = task["exception"]["message"].as_str().expect("a message");
            assert!(said.contains(message), "{text}");
            assert!(left.is_clean(), "{text}");
            assert_eq!(endless(left.place.path()), [""; 0], "{text}");
        }
    }
}

#[test]
fn a_time_limit_of_the_task_ends_its_program() {
    for pool in POOLS {
        let left = run("hang", &[pool, "--task-timeout=0.3"]);
        left.ended.expect(1);
        let task = left.wrong();
        assert_eq!(task["outcome"], "timeout", "{task}");
        assert_eq!(task["programs"][0]["signal"], 9, "{task}");
        assert_eq!(endless(left.place.path()), [""; 0]);
    }
}

#[test]
fn an_interrupt_ends_programs() {
    for pool in POOLS {
        let place = Place::new();
        let running = place.start(["run", app(), "--app.action=hang", ALLOWED, pool]);
        let run = place.begun();
        while endless(place.path())
            .iter()
            .all(|line| !line.starts_with("sleep"))
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        running.signal(rustix::process::Signal::INT);
        running.end().expect(130);
        assert_eq!(endless(place.path()), [""; 0], "{pool}");
        drop(run);
    }
}

#[test]
fn a_killed_run_takes_its_programs_along() {
    for pool in POOLS {
        let place = Place::new();
        let running = place.start(["run", app(), "--app.action=hang", ALLOWED, pool]);
        place.begun();
        while endless(place.path())
            .iter()
            .all(|line| !line.starts_with("sleep"))
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        running.signal(rustix::process::Signal::KILL);
        assert_eq!(running.end().signal, Some(9));
        let begun = std::time::Instant::now();
        while !endless(place.path()).is_empty() {
            assert!(
                begun.elapsed() < SOON,
                "{pool}: {:?}",
                endless(place.path())
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn what_a_program_leaves_running_is_killed_and_counted() {
    let left = run("leave", &[]);
    left.ended.expect(0);
    assert_eq!(left.wrong()["programs"][0]["left_behind"], 1);
    assert_eq!(endless(left.place.path()), [""; 0]);
}

#[test]
fn a_driver_runs_no_programs() {
    let left = run("driver", &[]);
    left.ended.expect(1).says("programs run in tasks only");
}

#[test]
fn a_crash_of_a_program_is_a_fault_like_others() {
    for pool in POOLS {
        let faults = [
            "--faults=program-crash",
            "--faults.rate=0.5",
            "--retries=8",
            "--seed=3",
            pool,
        ];
        let left = run("chain", &faults);
        left.ended.expect(0);
        assert!(
            left.json["faults"]["acted"].as_u64() > Some(0),
            "{}",
            left.json
        );
        let crashed = left.tasks().into_iter().filter(|task| task["signal"] == 11);
        let crashed: Vec<Value> = crashed.collect();
        assert!(!crashed.is_empty());
        for task in crashed {
            assert_eq!(task["outcome"], "program-error", "{task}");
            assert_eq!(task["injected"]["action"], "program-crash", "{task}");
        }
    }
}

#[test]
fn other_faults_cost_no_files() {
    for fault in [
        "lost-result",
        "corrupt-payload",
        "worker-killed",
        "late-duplicate",
    ] {
        let args = [
            &format!("--faults={fault}"),
            "--faults.rate=0.3",
            "--retries=8",
            "--lineage=true",
            "--seed=2",
            "--executor=process-pool",
        ];
        let mut args = args.map(str::to_owned).to_vec();
        if fault == "corrupt-payload" {
            // Damage is made before the file is a payload: nobody notices but the app's own check.
            args.push("--faults.budget=1".to_owned());
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let left = run("chain", &args);
        let code = if fault == "corrupt-payload" { 3 } else { 0 };
        assert!(
            left.ended.code == Some(0) || left.ended.code == Some(code),
            "{}",
            left.ended.text()
        );
        assert!(left.is_clean(), "{fault}");
    }
}

#[test]
fn a_run_that_was_killed_goes_on_with_its_files() {
    for durable in ["none", "all"] {
        let place = Place::new();
        let killed = place.run(&[
            app(),
            "--app.action=chain",
            ALLOWED,
            "--faults.signal-at-event=25",
            "--faults.signal=kill",
            &format!("--durable={durable}"),
        ]);
        assert_eq!(killed.signal, Some(9), "{}", killed.text());
        let run = place.only_run();
        let resumed = place.call(["resume", run.to_str().expect("UTF-8"), "--json"]);
        resumed.expect(0);
        assert_eq!(resumed.json()["values"]["lines-2"], 2004);
        assert!(
            !names(&run).iter().any(|name| name == "programs"),
            "{:?}",
            names(&run)
        );
    }
}

#[test]
fn programs_are_refused_before_any_work() {
    let place = Place::new();
    let refused = |more: &[&str]| {
        let ended = place.run(&[&[app(), "--app.action=chain"], more].concat());
        ended.expect(2);
        assert_eq!(place.names(), [""; 0], "nothing was written");
        let path = app();
        ended.text().replace(path, "[APP]")
    };
    snapshot!("not_allowed", refused(&["--allow-programs=cat,cp"]));
    snapshot!(
        "unknown",
        refused(&[ALLOWED, r#"--programs.paths={"dog": "/bin/cat"}"#])
    );
    snapshot!(
        "no_program",
        refused(&[ALLOWED, r#"--programs.paths={"cat": "/etc/hostname"}"#])
    );
    snapshot!(
        "no_size",
        refused(&[ALLOWED, "--programs.memory-limit=much"])
    );
}

#[test]
fn limits_of_the_run_are_those_of_its_programs() {
    let left = run("flood", &["--programs.output-limit=64 KiB"]);
    left.ended.expect(1);
    let message = left.wrong()["exception"]["message"].to_string();
    assert!(
        message.contains("programs.output_limit = 65536 bytes"),
        "{message}"
    );
    let left = run("hang", &["--programs.memory-limit=1 MiB"]);
    left.ended.expect(1);
}

#[test]
fn another_directory_serves_as_well() {
    let place = Place::new();
    let elsewhere = place.path().join("elsewhere");
    let ended = place.run(&[
        app(),
        "--app.action=chain",
        ALLOWED,
        &format!("--programs.directory={}", elsewhere.display()),
    ]);
    ended.expect(0);
    assert_eq!(names(&elsewhere), [""; 0]);
}
