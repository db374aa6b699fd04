//! The executor `process-pool` when nobody disturbs it: its options, and the memory that it takes.

use crate::{
    harness::{Place, Running, names, probe},
    pool::{BAG, NODES, Pool, bag, send},
};
use rustix::process::Signal;
use std::{
    collections::HashMap,
    fs,
    io::Write as _,
    os::{
        fd::OwnedFd,
        unix::{fs::MetadataExt as _, net::UnixStream},
    },
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

#[test]
fn demands_are_checked_against_nodes() {
    let args = [probe(), "--app.action=greedy"];
    let left = Pool::start(&[&args[..], &NODES].concat()).end();
    left.expect(1)
        .says("`cores`: 100000 asked, no host of this run has more than 2");
    assert_eq!(left.json()["tasks"]["submitted"], 0);
}

#[test]
fn numbers_of_workers_that_make_no_sense_are_refused() {
    for (args, says) in [
        (
            &[
                "--executor.workers-per-node=2",
                "--executor.max-processes=2",
            ][..],
            "give one of them",
        ),
        (
            &["--executor.workers-per-node=0"],
            "workers-per-node: expected a whole number",
        ),
        (
            &["--executor.max-processes=0"],
            "max-processes: expected a whole number",
        ),
        (&["--executor.nodes=0"], "nodes: expected a whole number"),
        (&["--executor.nodes=many"], "nodes: expected a whole number"),
        (
            &["--executor.heartbeat-timeout=0"],
            "heartbeat-timeout: expected",
        ),
        (&["--executor.context=thread"], "context: expected one of"),
    ] {
        let left = Pool::start(&[&BAG[..], args].concat()).end();
        left.expect(2).says(says);
        assert_eq!(names(&left.place.path().join("runs")), [""; 0], "{args:?}");
    }
    bag(&["--executor.context=spawn", "--app.task-count=20"])
        .end()
        .expect(0);
}

/// Passes 10 MB through 100 tasks.
const CHAIN: [&str; 7] = [
    "synthetic",
    "--app.structure=sequential",
    "--app.task-count=100",
    "--app.task-data-bytes=10000000",
    "--engine.payload.limit=200 MB",
    "--engine.payload.spill=false",
    "--retries=5",
];

#[test]
fn a_chain_of_large_payloads_frees_them_as_it_goes() {
    for workers in ["--executor.max-processes=1", "--executor.max-processes=3"] {
        let left = Pool::start(&[&CHAIN[..], &[workers]].concat()).end();
        left.expect(0);
        assert_eq!(left.json()["tasks"]["retried"], 0);
    }
}

#[test]
fn a_chain_outlives_its_workers() {
    let args = ["--app.task-sleep=0.01", "--executor.max-processes=2"];
    let mut pool = Pool::start(&[&CHAIN[..], &args].concat());
    pool.joined(2);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(250));
        for worker in pool.of_role("worker") {
            send(worker.pid, Signal::KILL);
        }
    }
    let left = pool.end();
    left.expect(0);
    assert_eq!(left.json()["tasks"]["succeeded"], 100);
}

/// The most memory that the processes of a run had at a time, resident and in files without a name.
fn most_memory(mut pool: Pool) -> (u64, u64) {
    let mut most = (0, 0);
    while pool.child.try_wait().expect("wait").is_none() {
        let members = pool.members();
        let resident = members.iter().filter_map(|member| resident(member.pid));
        most.0 = most.0.max(resident.sum());
        let mut files = HashMap::new();
        for member in &members {
            files.extend(unnamed_files(member.pid));
        }
        most.1 = most.1.max(files.values().sum());
        std::thread::sleep(Duration::from_millis(10));
    }
    pool.end().expect(0);
    most
}

fn resident(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

/// Memory that is held by descriptors, by inode.
fn unnamed_files(pid: i32) -> HashMap<(u64, u64), u64> {
    let directory = PathBuf::from(format!("/proc/{pid}/fd"));
    let files = names_or_none(&directory);
    let found = files.iter().filter_map(|name| {
        let path = directory.join(name);
        let target = fs::read_link(&path).ok()?;
        let unnamed = target.to_str()?.ends_with(" (deleted)");
        let metadata = fs::metadata(&path).ok().filter(|_| unnamed)?;
        Some(((metadata.dev(), metadata.ino()), metadata.blocks() * 512))
    });
    found.collect()
}

/// As [`names`], of a directory that changes.
fn names_or_none(directory: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .collect()
}

#[test]
fn memory_does_not_grow_with_the_number_of_tasks() {
    let run = |count: &str| {
        let args = [
            "synthetic",
            "--app.structure=bag",
            "--app.bag-max-running=8",
            "--app.task-data-bytes=1000000",
            "--executor.max-processes=2",
            "--app.task-count",
            count,
        ];
        most_memory(Pool::start(&args))
    };
    let (few, many) = (run("500"), run("2000"));
    // Sampled, and so not exact; 1,500 payloads more would be 1.5 GB.
    let margin = 64 << 20;
    assert!(many.0 < few.0 + few.0 / 4 + margin, "{few:?} {many:?}");
    assert!(many.1 < few.1 + few.1 / 4 + margin, "{few:?} {many:?}");
}

/// Whatever comes down the channel, a process of the pool ends by itself, with a message and without a panic.
#[test]
fn processes_that_are_told_nonsense_end() {
    let place = Place::new();
    let parent = std::process::id().to_string();
    let long = vec![0xa5; 100_000];
    let told: [&[u8]; 6] = [
        b"",
        b"\xff\xff\xff\xff",
        b"\x05\0\0\0\x01\x02\x03\x04\x05",
        // A batch before any set-up.
        b"\x08\0\0\0\x01\0\0\0\0\0\x01\0",
        // A set-up that is cut short.
        b"\x03\0\0\0\0\x01\x02",
        &long,
    ];
    for role in ["launcher", "manager", "worker"] {
        for bytes in told {
            let (mut near, far) = UnixStream::pair().expect("sockets");
            let mut command = place.command(["internal", role, &parent]);
            command.stdin(Stdio::from(OwnedFd::from(far)));
            let process = Running::new(command, place.path());
            // It may have had enough before the end.
            let _ = near.write_all(bytes);
            drop(near);
            let ended = process.end();
            assert!(matches!(ended.code, Some(0 | 6)), "{role} {}", ended.text());
            assert!(
                !ended.stderr.contains("panicked"),
                "{role} {}",
                ended.text()
            );
        }
    }
    place
        .call(["internal", "owner"])
        .expect(2)
        .says("for processes that the program starts itself");
}
