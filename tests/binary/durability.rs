//! What is left when a run is killed, interrupted, or runs out of disk.

use crate::harness::{Place, Running, lines, names, run_dir, skip, tasks};
use rustix::process::Signal;
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// Starts a bag of many tasks.
fn bag(place: &Place, args: &[&str]) -> Running {
    let bag = [
        "run",
        "synthetic",
        "--app.structure=bag",
        "--app.bag-max-running=20",
        "--json",
    ];
    place.start(bag.iter().chain(args))
}

/// Rebuilds the records of a run; gives how many tasks they have.
#[track_caller]
fn recovered(place: &Place, run: &Path) -> usize {
    let ended = place.call(["records", run.to_str().expect("UTF-8")]);
    ended.expect(0);
    let tasks = tasks(run);
    let ids: HashSet<_> = tasks
        .iter()
        .map(|task| task["task_id"].to_string())
        .collect();
    assert_eq!(ids.len(), tasks.len(), "no task is there twice");
    tasks.len()
}

/// Kills a run this long after its log began.
fn killed(after: Duration) -> usize {
    let place = Place::new();
    let running = bag(
        &place,
        &["--app.task-count=2000000", "--app.task-data-bytes=100"],
    );
    let run = place.begun();
    std::thread::sleep(after);
    running.signal(Signal::KILL);
    assert_eq!(running.end().signal, Some(9));
    assert!(
        !run.join("tasks.jsonl").exists(),
        "the views are written at the end"
    );
    recovered(&place, &run)
}

#[test]
fn a_killed_run_keeps_every_finished_task() {
    for after_ms in [0, 3, 10, 31, 100, 317] {
        let count = killed(Duration::from_millis(after_ms));
        assert!(
            count > 0 || after_ms < 300,
            "nothing recorded after {after_ms} ms"
        );
    }
}

#[test]
fn a_killed_run_keeps_what_the_app_was_told() {
    let place = Place::new();
    // The app logs each time that twenty tasks have ended: only what is recorded may be told.
    let running = bag(
        &place,
        &[
            "--app.task-count=100000",
            "--app.task-sleep=0.001",
            "--executor.max-threads=4",
        ],
    );
    let run = place.begun();
    std::thread::sleep(Duration::from_millis(400));
    running.signal(Signal::KILL);
    running.end();
    let log = fs::read_to_string(run.join("log.txt")).expect("log.txt");
    let told = log
        .rsplit("Completed ")
        .next()
        .and_then(|rest| rest.split('/').next()?.parse().ok());
    assert!(recovered(&place, &run) >= told.unwrap_or(1), "{log}");
}

#[test]
fn records_of_a_finished_run_are_the_same_again() {
    let place = Place::new();
    bag(&place, &["--app.task-count=500"]).end().expect(0);
    let run = place.only_run();
    let before = fs::read(run.join("tasks.jsonl")).expect("read");
    fs::remove_file(run.join("tasks.jsonl")).expect("remove");
    let ended = place.call(["records", run.to_str().expect("UTF-8")]);
    ended
        .expect(0)
        .says("500 lines, 500 tasks, 0 unfinished; the run finished");
    assert!(fs::read(run.join("tasks.jsonl")).expect("read") == before);
}

#[test]
fn a_damaged_log_gives_what_came_before() {
    let place = Place::new();
    bag(&place, &["--app.task-count=500"]).end().expect(0);
    let run = place.only_run();
    let mut log = fs::read(run.join("events.log")).expect("read");
    let half = log.len() / 2;
    log[half] ^= 0xff;
    fs::write(run.join("events.log"), log).expect("write");
    place
        .call(["records", run.to_str().expect("UTF-8")])
        .expect(0)
        .says("damaged from byte");
    let tasks = tasks(&run).len();
    assert!((1..500).contains(&tasks), "{tasks}");
}

#[test]
fn ctrl_c_cancels_keeps_records_and_leaves_no_process() {
    let place = Place::new();
    let args = [
        "--app.task-count=50",
        "--app.task-sleep=600",
        "--executor.max-threads=4",
    ];
    let running = bag(&place, &args);
    let id = running.id();
    let run = place.begun();
    std::thread::sleep(Duration::from_millis(200));
    let signalled = Instant::now();
    running.signal(Signal::INT);
    let ended = running.end();
    ended
        .expect(130)
        .says("error: interrupted; tasks were cancelled");
    assert!(
        signalled.elapsed() < Duration::from_secs(10),
        "{:?}",
        signalled.elapsed()
    );
    let json = ended.json();
    assert_eq!((&json["ok"], &run_dir(&json)), (&false.into(), &run));
    let tasks = tasks(&run);
    assert_eq!(
        Some(tasks.len() as u64),
        json["tasks"]["submitted"].as_u64()
    );
    for task in &tasks {
        assert_eq!(task["outcome"], "cancelled", "{task}");
    }
    let ran = tasks
        .iter()
        .filter(|task| !task["execution"].is_null())
        .count();
    assert_eq!(ran, 4, "the running ones say where they ran");
    assert!(!Path::new(&format!("/proc/{id}")).exists());
}

#[test]
fn ctrl_c_between_repetitions_ends_them_all() {
    let place = Place::new();
    let running = bag(
        &place,
        &["--app.task-count=50", "--app.task-sleep=600", "--repeat=3"],
    );
    place.begun();
    running.signal(Signal::INT);
    running.end().expect(130);
    place.only_run();
}

/// A small file system, while it is mounted.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one, or says why not.
    fn mount(path: PathBuf, size: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip("only root can mount");
            return None;
        }
        fs::create_dir(&path).expect("create");
        let options = format!("size={size}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&path)
            .output();
        if !mount.is_ok_and(|output| output.status.success()) {
            skip("mounting is not allowed here");
            return None;
        }
        Some(Self { path })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What stays mounted goes with the machine.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(&self.path)
            .status();
    }
}

#[test]
fn a_full_disk_ends_the_run_and_keeps_earlier_records() {
    let place = Place::new();
    let Some(disk) = SmallDisk::mount(place.path().join("disk"), "8m") else {
        return;
    };
    let running = bag(&place, &["--app.task-count=2000000", "--run-dir=disk/run"]);
    let ended = running.end();
    ended.expect(5).says("No space left on device");
    assert_eq!(
        ended.stderr.matches("error: ").count(),
        1,
        "{}",
        ended.text()
    );
    assert_eq!(ended.json()["ok"], false);
    // The log is whole up to the end; with room, its records can be made.
    let run = place.path().join("saved");
    fs::create_dir(&run).expect("create");
    fs::copy(disk.path.join("run/events.log"), run.join("events.log")).expect("copy");
    let count = recovered(&place, &run);
    assert!(count > 100, "{count}");
}

#[test]
fn a_disk_that_is_full_from_the_start() {
    let place = Place::new();
    let Some(disk) = SmallDisk::mount(place.path().join("disk"), "64k") else {
        return;
    };
    fs::write(disk.path.join("filler"), vec![0; 60 << 10]).expect("fill");
    let ended = bag(&place, &["--app.task-count=10", "--run-dir=disk/run"]).end();
    ended.expect(5).says("No space left on device");
    assert_eq!(names(&disk.path), ["filler"], "nothing half-written stays");
}

#[test]
fn lines_are_whole_even_while_the_run_goes_on() {
    let place = Place::new();
    let running = bag(
        &place,
        &["--app.task-count=3000", "--app.task-sleep=0.0005"],
    );
    let run = place.begun();
    std::thread::sleep(Duration::from_millis(150));
    // Looking at a run from beside it: what is there by now, in a directory of its own.
    let copy = place.path().join("copy");
    fs::create_dir(&copy).expect("create");
    fs::copy(run.join("events.log"), copy.join("events.log")).expect("copy");
    recovered(&place, &copy);
    running.end().expect(0);
    assert_eq!(lines(&run.join("tasks.jsonl")).len(), 3000);
}
