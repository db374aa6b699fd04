//! The cache of compiled components, through the sandbox that uses it.

use crate::{bench::description, guest::Guest};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Barrier, thread, time::Duration};
use taps_bundle::{Bundle, Digest, Source};
use taps_sandbox::{AotCache, CacheError, Interrupt, PoolSize, Sandbox};
use taps_schema::Nans;

fn bundle(guest: &Guest) -> Bundle {
    let wasm = guest.wasm();
    let digest = Digest::of(&wasm);
    let app = description(guest.names(), &[], &[]);
    Bundle::from_component(app, wasm.into(), digest, Source::Embedded).expect("it is sound")
}

fn sandbox(cache: &Path) -> Sandbox {
    let size = PoolSize {
        workers: 1,
        per_worker: 1,
    };
    let cache = AotCache::open(cache).expect("a directory of our own");
    Sandbox::new(size, Some(cache)).expect("a thread can be started")
}

fn load(cache: &Path, bundle: &Bundle) {
    let loaded = sandbox(cache).load(bundle, 0, Interrupt::Epoch);
    assert_eq!(loaded.expect("it compiles").name(), "hand-made.wasm");
}

fn files(cache: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(cache)
        .expect("readable")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    files
}

fn small() -> Bundle {
    bundle(&Guest::new(&[("fine", "(call $ok)")]))
}

#[test]
fn a_component_is_compiled_once() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let cache = folder.path().join("aot");
    let bundle = small();
    load(&cache, &bundle);
    let stored = files(&cache);
    assert_eq!(stored.len(), 1);
    let name = stored[0].file_name().and_then(|name| name.to_str());
    let name = name.expect("plain text");
    assert!(
        name.contains("windows-epoch") && name.contains("48.0"),
        "{name}"
    );
    // A hit loads the file as it is and only marks its use.
    let code = fs::read(&stored[0]).expect("readable");
    let old = std::time::SystemTime::now() - Duration::from_hours(1);
    fs::File::open(&stored[0])
        .and_then(|file| file.set_modified(old))
        .expect("ours");
    load(&cache, &bundle);
    assert_eq!(files(&cache), stored);
    assert_eq!(fs::read(&stored[0]).expect("readable"), code);
    let used = fs::metadata(&stored[0]).and_then(|found| found.modified());
    assert!(used.expect("known") > old + Duration::from_mins(30));
}

#[test]
fn another_profile_or_component_is_another_entry() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let cache = folder.path().join("aot");
    let bundle = small();
    load(&cache, &bundle);
    let free = sandbox(&cache).load(&bundle, 0, Interrupt::Free);
    assert_eq!(free.expect("it compiles").profile().name(), "windows-free");
    let copying = Guest::new(&[("fine", "(call $ok)")]).without_windows();
    let copying = sandbox(&cache).load(&self::bundle(&copying), 0, Interrupt::Epoch);
    assert_eq!(copying.expect("it compiles").profile().name(), "copy-epoch");
    let mut manifest = bundle.manifest().clone();
    manifest.app.nans = Nans::Host;
    let wasm = bundle.component(0).expect("it has one").to_owned();
    let of_host = Bundle::from_parts(manifest, vec![wasm.into()], Source::Embedded);
    let of_host = sandbox(&cache).load(&of_host.expect("sound"), 0, Interrupt::Epoch);
    let name = of_host.expect("it compiles").profile().name();
    assert_eq!(name, "windows-epoch-host-nans");
    assert_eq!(files(&cache).len(), 4);
}

#[test]
fn a_damaged_entry_is_compiled_again() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let cache = folder.path().join("aot");
    let bundle = small();
    load(&cache, &bundle);
    let entry = files(&cache).remove(0);
    let code = fs::read(&entry).expect("readable");
    let other = folder.path().join("elsewhere");
    fs::write(&other, &code).expect("written");
    for damage in ["empty", "half", "text", "link", "folder"] {
        match damage {
            "empty" => fs::write(&entry, []).expect("written"),
            "half" => fs::write(&entry, &code[..code.len() / 2]).expect("written"),
            "text" => fs::write(&entry, "not code at all").expect("written"),
            "link" => {
                fs::remove_file(&entry).expect("removed");
                std::os::unix::fs::symlink(&other, &entry).expect("linked");
            }
            _ => {
                fs::remove_file(&entry).expect("removed");
                fs::create_dir(&entry).expect("made");
            }
        }
        load(&cache, &bundle);
        if damage == "folder" {
            // Nothing can be stored there, and the component runs all the same.
            assert!(entry.is_dir());
            assert_eq!(files(&cache).len(), 1, "nothing half-written is left");
        } else {
            let found = fs::symlink_metadata(&entry).expect("it is there");
            assert!(found.is_file(), "{damage}");
            assert_eq!(found.len(), code.len() as u64, "{damage}");
        }
    }
}

#[test]
fn directories_that_others_could_write_are_refused() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let refused = |path: &Path| matches!(AotCache::open(path), Err(CacheError::NotPrivate { .. }));
    let cache = folder.path().join("aot");
    AotCache::open(&cache).expect("made");
    for mode in [0o770, 0o701, 0o750, 0o777] {
        fs::set_permissions(&cache, fs::Permissions::from_mode(mode)).expect("ours");
        assert!(refused(&cache), "{mode:o}");
    }
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).expect("ours");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&cache, &link).expect("linked");
    assert!(refused(&link));
    let plain = folder.path().join("plain");
    fs::write(&plain, "").expect("written");
    assert!(refused(&plain));
    // Somebody else's, when we are allowed to make one.
    let foreign = folder.path().join("foreign");
    fs::create_dir(&foreign).expect("made");
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o700)).expect("ours");
    match std::os::unix::fs::chown(&foreign, Some(12345), Some(12345)) {
        Ok(()) => assert!(refused(&foreign)),
        Err(error) => eprintln!("skipped: a directory of another user: {error}"),
    }
}

#[test]
fn a_cache_that_cannot_be_written_only_costs_time() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let cache = folder.path().join("aot");
    let sandbox = sandbox(&cache);
    fs::remove_dir(&cache).expect("empty");
    let loaded = sandbox.load(&small(), 0, Interrupt::Epoch);
    assert!(loaded.is_ok());
}

#[test]
fn entries_used_long_ago_make_room() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let cache = folder.path().join("aot");
    AotCache::open(&cache).expect("made");
    // Sparse: sizes without bytes.
    let old = cache.join("old.cwasm");
    let recent = cache.join("recent.cwasm");
    for (path, age) in [(&old, 7200), (&recent, 60)] {
        let file = fs::File::create(path).expect("made");
        file.set_len(600 << 20).expect("sparse");
        let used = std::time::SystemTime::now() - Duration::from_secs(age);
        file.set_modified(used).expect("ours");
    }
    fs::create_dir(cache.join("a-folder")).expect("made");
    load(&cache, &small());
    assert!(!old.exists() && recent.exists());
    assert_eq!(files(&cache).len(), 3);
}

/// Writers never share a file, and readers never see half of one.
#[test]
fn many_may_compile_at_once() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let cache = folder.path().join("aot");
    AotCache::open(&cache).expect("made");
    let bundles: Vec<Bundle> = (0..3)
        .map(|n| {
            bundle(&Guest::new(&[(
                "fine",
                &format!("(drop (i32.const {n})) (call $ok)"),
            )]))
        })
        .collect();
    for _ in 0..3 {
        let start = Barrier::new(6);
        thread::scope(|scope| {
            for n in 0..6 {
                let (cache, bundle, start) = (&cache, &bundles[n % 3], &start);
                scope.spawn(move || {
                    let sandbox = sandbox(cache);
                    start.wait();
                    sandbox
                        .load(bundle, 0, Interrupt::Epoch)
                        .expect("it compiles");
                });
            }
        });
        let stored = files(&cache);
        assert_eq!(stored.len(), 3, "no temporary file is left: {stored:?}");
        for path in &stored {
            fs::remove_file(path).expect("ours");
        }
    }
}
