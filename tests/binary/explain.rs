//! `explain`: what became of a run and of its tasks, told from the log of runs that ended in many ways.

use crate::{
    harness::{Place, Running, probe, settings, snapshot},
    pool::{NODES, Pool, send},
};
use rustix::process::Signal;
use serde_json::Value;
use std::{fmt::Write as _, fs, thread, time::Duration};

/// Explains the only run of a place, or a task of it.
#[track_caller]
fn explained(place: &Place, more: &[&str]) -> String {
    let run = place.only_run();
    let run = run.strip_prefix(place.path()).expect("below");
    let run = run.to_str().expect("UTF-8");
    let ended = place.call([&["explain", run][..], more].concat());
    ended.expect(0);
    assert_eq!(ended.stderr, "");
    ended.stdout
}

/// The same as JSON.
#[track_caller]
fn explained_json(place: &Place, more: &[&str]) -> Value {
    let text = explained(place, &[more, &["--json"]].concat());
    serde_json::from_str(&text).expect("JSON")
}

macro_rules! story {
    ($text:expr) => {{
        let mut settings = settings();
        settings.add_filter(r"\b\d+ bytes of memory", "[BYTES] bytes of memory");
        // Whether a parent ends before its child is submitted is a matter of luck.
        settings.add_filter(r"(?m)^.* its parent .*\n", "");
        settings.add_filter(r", on \S+\n", ", on [HOST]\n");
        settings.bind(|| insta::assert_snapshot!($text));
    }};
}

#[test]
fn a_run_that_succeeds() {
    let place = Place::new();
    let args = [
        "synthetic",
        "--app.structure=sequential",
        "--app.task-count=2",
        "--app.task-data-bytes=10",
        "--executor.max-threads=1",
        "-q",
    ];
    place.run(&args).expect(0);
    let run = explained(&place, &[]);
    let task = explained(&place, &["1"]);
    story!(format!("{run}---\n{task}"));
    let json = explained_json(&place, &[]);
    assert_eq!(
        (&json["state"], &json["exit_code"]),
        (&"finished".into(), &0.into())
    );
    assert_eq!(json["counts"]["succeeded"], 2);
    assert_eq!(
        (&json["injection"], &json["open"]),
        (&Value::Null, &Vec::<Value>::new().into())
    );
}

#[test]
fn a_failure_and_what_failed_because_of_it() {
    let place = Place::new();
    let args = ["--app.action=upstream", "--executor.max-threads=1", "-q"];
    place.run(&[&[probe()][..], &args].concat()).expect(0);
    let run = explained(&place, &[]);
    let cause = explained(&place, &["error[0]"]);
    let grandchild = explained(&place, &["ok[1]"]);
    story!(format!("{run}---\n{cause}---\n{grandchild}"));
    let json = explained_json(&place, &["2"]);
    assert_eq!(json["state"], "upstream-failed");
    assert_eq!(json["parents"][0]["state"], "upstream-failed");
    let events: Vec<_> = json["story"].as_array().expect("a list").iter().collect();
    assert_eq!(events[0]["event"], "submitted");
}

#[test]
fn retries_and_what_a_guest_wrote() {
    let place = Place::new();
    let args = ["--app.count=1", "--executor.max-threads=1", "-q"];
    let flaky = [&[probe(), "--app.action=flaky", "--retries=1"][..], &args].concat();
    place.run(&flaky).expect(0);
    let retried = explained(&place, &["0"]);
    let place = Place::new();
    let chatter = [&[probe(), "--app.action=chatter"][..], &args].concat();
    place.run(&chatter).expect(0);
    let written = explained(&place, &["chatter[0]"]);
    story!(format!("{retried}---\n{written}"));
}

/// A run of three long tasks on one worker, once the first runs.
fn begun(place: &Place) -> Running {
    let args = [
        "run",
        "synthetic",
        "--app.structure=bag",
        "--app.bag-max-running=3",
        "--app.task-count=3",
        "--app.task-sleep=600",
        "--executor.max-threads=1",
        "-q",
    ];
    let running = place.start(args);
    place.begun();
    for _ in 0..2_000 {
        let run = place.only_run();
        // The log may be there before anything is in it.
        let ended = place.call(["explain", run.to_str().expect("UTF-8"), "--json"]);
        let ready = || {
            let json = ended.json();
            json["counts"]["submitted"] == 3 && json["open"][0]["state"] == "running"
        };
        if ended.code == Some(0) && ready() {
            assert_eq!(ended.json()["state"], "going-on");
            return running;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("the tasks were never submitted");
}

#[test]
fn a_run_that_goes_on_and_is_killed() {
    let place = Place::new();
    let running = begun(&place);
    let live = explained(&place, &[]);
    running.signal(Signal::KILL);
    assert_eq!(running.end().signal, Some(9));
    let killed = explained(&place, &[]);
    let task = explained(&place, &["0"]);
    story!(format!("{live}---\n{killed}---\n{task}"));
}

#[test]
fn a_run_that_was_interrupted() {
    let place = Place::new();
    let running = begun(&place);
    running.signal(Signal::INT);
    running.end().expect(130);
    let json = explained_json(&place, &[]);
    assert_eq!(json["state"], "interrupted");
    assert_eq!(json["counts"]["cancelled"], 3);
    assert_eq!(json["open"], Value::Array(Vec::new()));
}

#[test]
fn a_worker_that_was_killed() {
    let args = [
        "synthetic",
        "--app.structure=bag",
        "--app.task-count=8",
        "--app.bag-max-running=8",
        "--app.task-sleep=0.5",
        "--retries=1",
    ];
    let mut pool = Pool::start(&[&args[..], &NODES].concat());
    pool.joined(4);
    // It has taken its first task by now, and sleeps in it.
    thread::sleep(Duration::from_millis(200));
    send(pool.of_role("worker")[0].pid, Signal::KILL);
    let left = pool.end();
    left.expect(0);
    let lost = left.tasks();
    let lost = lost.iter().find(|task| task["outcome"] == "worker-lost");
    let id = lost.expect("a task was hit")["task_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let place = Place::new();
    let log = left.run().join("events.log");
    // The log itself is a name of the run too.
    let log = log.to_str().expect("UTF-8");
    let run = place.call(["explain", log]);
    run.expect(0);
    let lost = "Workers   1 was lost\n          worker ";
    assert!(run.stdout.contains(lost), "{}", run.text());
    let task = place.call(["explain", log, &id]);
    let story = &task.expect(0).stdout;
    let mut rest = &story[..];
    for part in [
        "submitted by the driver",
        "attempt 0 sent to worker ",
        " is gone: ",
        " ended: worker-lost: worker ",
        "; another follows",
        "attempt 1 sent to worker ",
        ", as the one before failed",
        " ended: ok",
        "the driver saw a completion: succeeded",
    ] {
        let (_, after) = rest
            .split_once(part)
            .unwrap_or_else(|| panic!("{part}: {story}"));
        rest = after;
    }
}

/// Worker processes live a little longer than the coordinator, and must not hold what says that the run goes on.
#[test]
fn no_other_process_holds_the_log_of_a_killed_run() {
    let args = [
        "synthetic",
        "--app.structure=bag",
        "--app.task-count=8",
        "--app.bag-max-running=8",
        "--app.task-sleep=600",
    ];
    let mut pool = Pool::start(&[&args[..], &NODES].concat());
    pool.joined(4);
    pool.signal(Signal::KILL);
    pool.child.wait().expect("wait");
    let run = pool.place.only_run();
    let told = Place::new().call(["explain", run.to_str().expect("UTF-8"), "--json"]);
    assert_eq!(told.expect(0).json()["state"], "killed");
    pool.end();
}

#[test]
fn a_damaged_log_is_told_up_to_the_damage() {
    let place = Place::new();
    let args = [
        "synthetic",
        "--app.structure=bag",
        "--app.bag-max-running=9",
        "--app.task-count=200",
        "-q",
    ];
    place.run(&args).expect(0);
    let log = place.only_run().join("events.log");
    let mut bytes = fs::read(&log).expect("read");
    let half = bytes.len() / 2;
    bytes[half] ^= 0xff;
    fs::write(&log, bytes).expect("write");
    let text = explained(&place, &[]);
    assert!(text.contains("none: it was killed"), "{text}");
    assert!(text.contains("the log is damaged from byte"), "{text}");
}

#[test]
fn what_cannot_be_explained() {
    let place = Place::new();
    place
        .run(&[
            "synthetic",
            "--app.structure=bag",
            "--app.bag-max-running=9",
            "--app.task-count=3",
            "-q",
        ])
        .expect(0);
    let run = place.path().join("run");
    fs::rename(place.only_run(), &run).expect("rename");
    fs::create_dir(place.path().join("empty")).expect("create");
    place.write("other/events.log", "{\"not\": \"a log\"}");
    place.write("short/events.log", "");
    let mut bytes = fs::read(run.join("events.log")).expect("read");
    bytes[8] = 99;
    place.write("newer/events.log", bytes);
    let mut text = String::new();
    for (args, code) in [
        (&["nowhere"][..], 5),
        (&["empty"], 5),
        (&["other"], 5),
        (&["other/events.log", "0"], 5),
        (&["short"], 5),
        (&["newer"], 5),
        (&["run", "3"], 2),
        (&["run", "potrf[0]"], 2),
        (&["run", "potrf"], 2),
        (&["short", "0"], 2),
    ] {
        let ended = place.call([&["explain"][..], args].concat());
        ended.expect(code);
        assert_eq!(ended.stdout, "");
        let _ = writeln!(text, "explain {}\n{}", args.join(" "), ended.text());
    }
    snapshot!(text);
}
