//! Wrong flags, files and directories: one clear message, its exit code, and nothing left behind.

use crate::harness::{Ended, Place, names, snapshot};
use std::{fs, os::unix::fs::symlink};

const BAG: [&str; 4] = [
    "synthetic",
    "--app.structure=bag",
    "--app.task-count=4",
    "--app.bag-max-running=2",
];

/// The program refuses this with this code; no run directory is left. Without the log lines.
#[track_caller]
fn refused(place: &Place, args: &[&str], code: i32) -> String {
    let besides_runs = || {
        let mut names = place.names();
        names.retain(|name| name != "runs");
        names
    };
    let before = besides_runs();
    let ended = place.run(args);
    ended.expect(code);
    assert_eq!(besides_runs(), before);
    assert_eq!(names(&place.path().join("runs")), [""; 0]);
    message(&ended)
}

/// What is shown of a failure.
#[track_caller]
fn message(ended: &Ended) -> String {
    assert_eq!(ended.stdout, "");
    let text = ended.text();
    assert_eq!(text.matches("error: ").count(), 1, "{text}");
    text[text.find("error: ").expect("an error")..].to_owned()
}

#[track_caller]
fn refused_usage(args: &[&str]) -> String {
    refused(&Place::new(), args, 2)
}

#[test]
fn unknown_names_hint_at_the_nearest() {
    snapshot!("app", refused_usage(&["choleski", "--app.matrix-size=8"]));
    snapshot!(
        "flag",
        refused_usage(&[&BAG[..], &["--app.task-cuont=3"]].concat())
    );
    snapshot!(
        "general_flag",
        refused_usage(&[&BAG[..], &["--retires=3"]].concat())
    );
    snapshot!(
        "value",
        refused_usage(&["synthetic", "--app.structure=dimond", "--app.task-count=3"])
    );
    snapshot!(
        "executor",
        refused_usage(&[&BAG[..], &["--executor=thread-pol"]].concat())
    );
    snapshot!(
        "transformer",
        refused_usage(&[&BAG[..], &["--transformer=proxystore"]].concat())
    );
}

#[test]
fn values_out_of_range_or_of_another_type() {
    for (flag, expected) in [
        ("--app.task-count=0", "expected a whole number"),
        ("--app.task-count=1.5", "expected a whole number"),
        ("--app.task-count=", "expected a whole number"),
        (
            "--app.task-count=99999999999999999999",
            "expected a whole number",
        ),
        ("--app.task-sleep=-1", "expected a number"),
        ("--app.task-sleep=nan", "number"),
        ("--app.verify=yes", "expected `true` or `false`"),
        ("--retries=-1", "expected a whole number"),
        ("--task-memory=lots", "got `lots`"),
        ("--task-timeout=0", "expected a number"),
        ("--executor.max-threads=0", "expected a whole number"),
        ("--run-dir={app}", "unknown placeholder {app}"),
        ("--logging.file-name=events.log", "taken"),
        ("--logging.file-name=a/b", "a/b"),
        ("--run.env-vars=[]", "expected a table"),
    ] {
        let name = flag.split_once('=').expect("a flag").0;
        let args: Vec<_> = BAG
            .iter()
            .copied()
            .filter(|arg| !arg.starts_with(name))
            .chain([flag])
            .collect();
        let message = refused_usage(&args);
        assert!(
            message.contains(name) && message.contains(expected),
            "{flag}: {message}"
        );
    }
}

#[test]
fn all_problems_are_shown_at_once() {
    let place = Place::new();
    place.write(
        "config.toml",
        "[app]\nblok_size = 3\n[engine]\nretries = \"many\"\n[logging]\nlevel = \"LOUD\"\n",
    );
    let args = [
        "cholesky",
        "-c",
        "config.toml",
        "--executor=pool",
        "--app.probes=0",
        "--frob",
        "extra",
    ];
    snapshot!(refused(&place, &args, 2));
}

#[test]
fn a_block_size_that_does_not_divide() {
    snapshot!(refused_usage(&[
        "cholesky",
        "--app.matrix-size=10",
        "--app.block-size=3"
    ]));
}

#[test]
fn what_only_the_app_can_check_names_its_place_in_a_file() {
    let place = Place::new();
    place.write(
        "config.toml",
        "[app]\nname = \"cholesky\"\nmatrix_size = 10\nblock_size = 3\n",
    );
    let message = refused(&place, &["-c", "config.toml"], 2);
    assert!(message.contains("config.toml:4"), "{message}");
}

#[test]
fn missing_values() {
    snapshot!("no_app", refused_usage(&["--app.matrix-size=3"]));
    snapshot!("no_fields", refused_usage(&["cholesky"]));
    snapshot!(
        "no_limit",
        refused_usage(&["synthetic", "--app.structure=bag", "--app.task-count=3"])
    );
    snapshot!("neither_files_nor_text", refused_usage(&["mapreduce"]));
}

#[test]
fn input_directories() {
    let place = Place::new();
    fs::create_dir(place.path().join("empty")).expect("create");
    place.write("file", "text");
    let refused = |dir: &str| refused(&place, &["mapreduce", "--app.data-dir", dir], 2);
    snapshot!("missing_directory", refused("nowhere"));
    snapshot!("a_file_as_directory", refused("file"));
    snapshot!("empty_directory", refused("empty"));
    fs::create_dir_all(place.path().join("folders/only/empty")).expect("create");
    snapshot!("directory_of_empty_directories", refused("folders"));
}

#[test]
fn a_directory_that_may_not_be_read() {
    use std::os::unix::fs::PermissionsExt;
    if rustix::process::geteuid().is_root() {
        crate::harness::skip("permissions do not bind root");
        return;
    }
    let place = Place::new();
    let path = place
        .write("locked/a.txt", "text")
        .parent()
        .expect("a folder")
        .to_owned();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("lock");
    let message = refused(&place, &["mapreduce", "--app.data-dir=locked"], 2);
    assert!(message.contains("Permission denied"), "{message}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("unlock");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let place = Place::new();
    place.write("texts/a.txt", "one two");
    symlink("nowhere", place.path().join("texts/b.txt")).expect("link");
    let message = refused(&place, &["mapreduce", "--app.data-dir=texts"], 2);
    assert!(message.contains("b.txt"), "{message}");
    assert!(message.contains("--app.data-dir"), "{message}");
}

#[test]
fn a_link_out_of_the_directory_is_not_followed() {
    let place = Place::new();
    place.write("secret/passwords.txt", "hunter2");
    place.write("texts/a.txt", "one two");
    symlink("../secret/passwords.txt", place.path().join("texts/b.txt")).expect("link");
    let message = refused(&place, &["mapreduce", "--app.data-dir=texts"], 2);
    assert!(
        message.contains("b.txt") && !message.contains("hunter2"),
        "{message}"
    );
}

#[test]
fn config_files() {
    let place = Place::new();
    place.write("broken.toml", "[app\nname = 3");
    place.write(
        "unknown.toml",
        "[app]\nname = \"cholesky\"\n[enigne]\nretries = 3\n",
    );
    place.write("binary.toml", b"\xff\xfe\0\0");
    fs::create_dir(place.path().join("folder")).expect("create");
    snapshot!("not_toml", refused(&place, &["-c", "broken.toml"], 2));
    snapshot!("no_file", refused(&place, &["-c", "nowhere.toml"], 2));
    snapshot!("a_folder", refused(&place, &["-c", "folder"], 2));
    snapshot!("not_text", refused(&place, &["-c", "binary.toml"], 2));
    snapshot!(
        "unknown_section",
        refused(&place, &["-c", "unknown.toml"], 2)
    );
}

#[test]
fn a_run_directory_that_cannot_be_made() {
    let place = Place::new();
    place.write("file", "content");
    for dir in [
        "--run-dir=file/below",
        "--run-dir=file",
        "--run-dir=/proc/none/of/it",
    ] {
        let message = refused(&place, &[&BAG[..], &[dir]].concat(), 5);
        assert!(message.contains(&dir["--run-dir=".len()..]), "{message}");
    }
    assert_eq!(
        fs::read_to_string(place.path().join("file")).expect("read"),
        "content"
    );
}

#[test]
fn a_run_directory_in_use_is_refused_and_untouched() {
    let place = Place::new();
    let args = [&BAG[..], &["--run-dir=here", "-q"]].concat();
    place.run(&args).expect(0);
    let contents = || {
        let path = place.path().join("here");
        let read = |name: String| (fs::read(path.join(&name)).expect("read"), name);
        names(&path).into_iter().map(read).collect::<Vec<_>>()
    };
    let before = contents();
    let ended = place.run(&args);
    snapshot!(ended.expect(5).text());
    assert!(contents() == before);
}

#[test]
fn runs_of_the_same_second_get_a_suffix() {
    let place = Place::new();
    let args = ["run"].iter().chain(&BAG).chain(&["-q"]);
    let running: Vec<_> = (0..4).map(|_| place.start(args.clone())).collect();
    for run in running {
        run.end().expect(0);
    }
    let runs = names(&place.path().join("runs"));
    assert_eq!(runs.len(), 4, "{runs:?}");
    for run in runs {
        assert_eq!(
            crate::harness::tasks(&place.path().join("runs").join(run)).len(),
            4
        );
    }
}

#[test]
fn an_output_directory_that_cannot_be_made() {
    let place = Place::new();
    place.write("file", "content");
    place.write("texts/a.txt", "one two");
    let message = refused(
        &place,
        &[
            "mapreduce",
            "--app.data-dir=texts",
            "--app.output-dir=file/out",
        ],
        2,
    );
    assert!(
        message.contains("--app.output-dir") || message.contains("app.output_dir"),
        "{message}"
    );
}

#[test]
fn a_place_to_spill_that_cannot_be_written() {
    let place = Place::new();
    let args = [
        "synthetic",
        "--app.structure=sequential",
        "--app.task-count=1",
    ];
    let ended = place.run(&[&args[..], &["--engine.payload.spill-dir=/nowhere/at/all"]].concat());
    ended
        .expect(2)
        .says("--engine.payload.spill-dir: expected a directory that can be written, got `/nowhere/at/all`");
    assert!(crate::harness::names(&place.path().join("runs")).is_empty());
}
