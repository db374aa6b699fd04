//! The tmpfs that is never mounted. Without the test harness, because its child must have a single
//! thread.

use std::{
    env, fs,
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    process::Command,
};
use taps_payload::{
    Medium, SegmentStore, StoreError, StoreKind, StoreOptions,
    tmpfs::{self, HugeTmpfs, TmpfsError},
};

/// What the child is to do.
const ROLE: &str = "TAPS_TMPFS_ROLE";
const MIB: u64 = 1 << 20;
const SIZE_BYTES: u64 = 64 * MIB;

fn main() {
    match env::var(ROLE).ok().as_deref() {
        Some("serve") => {
            // The parent hears of a failure.
            let _ = tmpfs::serve_child();
            return;
        }
        Some("end") => return,
        _ => {}
    }
    a_child_that_says_nothing_is_an_error();
    everything_works(tmpfs::make(&mut child("serve"), SIZE_BYTES));
    everything_works(tmpfs::make_by_child(&mut child("serve"), SIZE_BYTES));
    if env::var(ROLE).is_err() && rustix::process::geteuid().is_root() {
        // All of it again without any rights.
        let mut nobody = child("nobody");
        match nobody.uid(65534).gid(65534).status() {
            Ok(status) => assert!(status.success(), "{status}"),
            Err(error) => eprintln!("skipped: another user cannot run this program: {error}"),
        }
    }
}

fn everything_works(made: Result<HugeTmpfs, TmpfsError>) {
    match made {
        Ok(tmpfs) => {
            segments_work(&tmpfs);
            exported_memory_cannot_be_written(&tmpfs);
            a_full_tmpfs_is_an_error(&tmpfs);
        }
        // Namespaces are forbidden on many machines, which is no fault of this code.
        Err(TmpfsError::Child { reason }) => eprintln!("skipped: {reason}"),
        Err(error) => panic!("{error:?}"),
    }
}

fn child(role: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("it runs"));
    command.env(ROLE, role);
    command
}

fn a_child_that_says_nothing_is_an_error() {
    let error = tmpfs::make_by_child(&mut child("end"), SIZE_BYTES).expect_err("no answer");
    assert!(error.to_string().contains("without an answer"), "{error}");
    let mut missing = Command::new("/nonexistent/program");
    tmpfs::make_by_child(&mut missing, SIZE_BYTES).expect_err("no program");
}

fn store(tmpfs: &HugeTmpfs, limit_bytes: u64) -> SegmentStore {
    let options = StoreOptions {
        kind: StoreKind::HugeTmpfs,
        tmpfs: Some(tmpfs.clone()),
        limit_bytes: Some(limit_bytes),
        ..StoreOptions::default()
    };
    SegmentStore::new(options).expect("it was just made")
}

fn segments_work(tmpfs: &HugeTmpfs) {
    let store = store(tmpfs, SIZE_BYTES);
    assert_eq!(store.info().kind, "huge-tmpfs");
    for (round, len) in [3 * MIB, 10 * MIB, 9 * MIB, 1, 5000]
        .into_iter()
        .enumerate()
    {
        let mut segment = store.create(len).expect("there is room");
        assert_eq!(
            segment.has_huge_pages(),
            store.info().huge_pages && len > MIB
        );
        segment.write_at(0, &[round as u8 + 1]).expect("it fits");
        let segment = store.publish(segment).expect("its own");
        let map = segment.map().expect("mappings are left");
        assert_eq!(map[0], round as u8 + 1);
        assert!(map[1..].iter().all(|byte| *byte == 0), "cleared");
        store.free(segment.id());
    }
    assert!(store.statistics().recycled >= 1);
    assert_eq!(store.statistics().live_bytes, 0);
    // A worker gets the descriptor.
    let passed = HugeTmpfs::from_fd(tmpfs.as_fd().try_clone_to_owned().expect("ours"));
    let options = StoreOptions {
        tmpfs: Some(passed),
        id_space: 1,
        ..StoreOptions::default()
    };
    let other = SegmentStore::new(options).expect("it was just made");
    assert_eq!(other.info().kind, "huge-tmpfs", "the best there is");
}

fn exported_memory_cannot_be_written(tmpfs: &HugeTmpfs) {
    let store = store(tmpfs, SIZE_BYTES);
    let mut segment = store.create_mappable(3 * MIB).expect("there is room");
    segment.write_at(0, &vec![7; 3 << 20]).expect("it fits");
    let segment = store.publish(segment).expect("its own");
    let exported = segment.export().expect("procfs is mounted");
    let file = fs::File::from(exported.file.try_clone().expect("ours"));
    file.set_len(0).expect_err("read-only");
    rustix::io::pwrite(&file, b"x", 0).expect_err("read-only");
    assert_eq!(exported.info.medium, Medium::Tmpfs);
    let memory = store.import(exported.info, exported.file).expect("sound");
    assert_eq!(memory.info().capacity, 4 * MIB);
}

fn a_full_tmpfs_is_an_error(tmpfs: &HugeTmpfs) {
    // The account allows more than the tmpfs has.
    let store = store(tmpfs, 4 * SIZE_BYTES);
    let mut segments = Vec::new();
    let error = loop {
        match store.create(10 * MIB) {
            Ok(segment) => segments.push(segment),
            Err(error) => break error,
        }
        assert!(segments.len() < 10, "the size of the tmpfs is a limit");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    // Whatever was given out has all its memory: filling it is not the end of this process.
    for segment in &mut segments {
        segment
            .write_at(0, &vec![1; 10 << 20])
            .expect("it is there");
    }
}
