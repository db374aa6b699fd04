//! The commands besides `run`, and help.

use crate::harness::{Place, probe, snapshot};
use std::fs;

#[test]
fn without_arguments_the_help_is_shown() {
    let place = Place::new();
    let ended = place.call::<&str>([]);
    ended.expect(2);
    assert_eq!(ended.stdout, "");
    assert_eq!(ended.stderr, place.call(["--help"]).stdout);
}

#[test]
fn help() {
    snapshot!(Place::new().call(["--help"]).expect(0).text());
}

#[test]
fn version() {
    let ended = Place::new().call(["--version"]);
    assert_eq!(
        ended.stdout,
        concat!("taps-wasm ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn help_of_run() {
    let place = Place::new();
    let ended = place.run(&["--help"]);
    snapshot!(ended.expect(0).text());
    assert_eq!(place.run(&[]).stdout, ended.stdout);
    assert_eq!(place.run(&["-h"]).stdout, ended.stdout);
}

#[test]
fn help_of_run_shows_the_fields_of_the_chosen_app_only() {
    let ended = Place::new().run(&["cholesky", "--help"]);
    ended.expect(0);
    assert!(
        ended.stdout.contains("--app.matrix-size"),
        "{}",
        ended.text()
    );
    assert!(!ended.stdout.contains("task-count"), "{}", ended.text());
    let app = ended.stdout.split("\nEngine").next().expect("a section");
    snapshot!(app);
}

#[test]
fn help_of_run_serves_a_component_that_somebody_sent() {
    let ended = Place::new().run(&[probe(), "--help"]);
    ended.expect(0);
    assert!(ended.stdout.contains("--app.action"), "{}", ended.text());
    assert!(
        ended.stdout.contains("What the tasks do."),
        "{}",
        ended.text()
    );
}

#[test]
fn list() {
    let place = Place::new();
    snapshot!(place.call(["list"]).expect(0).text());
    let apps = place.call(["list", "apps", "--json"]).expect(0).json();
    let names: Vec<&str> = apps
        .as_array()
        .or_else(|| apps["apps"].as_array())
        .expect("a list")
        .iter()
        .map(|app| app["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(
        names,
        [
            "cholesky",
            "docking",
            "failures",
            "fedlearn",
            "mapreduce",
            "moldesign",
            "montage",
            "physics",
            "synthetic"
        ]
    );
    let all = place.call(["list", "--json"]).json();
    for kind in ["apps", "executors", "filters", "transformers"] {
        for entry in all[kind].as_array().expect(kind) {
            assert!(
                entry["name"].is_string() && entry["summary"].is_string(),
                "{entry}"
            );
        }
    }
}

#[test]
fn describe_tells_fields_tasks_and_components() {
    let place = Place::new();
    let ended = place.call(["describe", "cholesky"]);
    ended.expect(0);
    for part in ["--app.matrix-size", "potrf(", "pure", "sha256:"] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.text());
    }
    let json = place
        .call(["describe", "synthetic", "--json"])
        .expect(0)
        .json();
    assert_eq!(
        json["app"]["name"].as_str().or(json["name"].as_str()),
        Some("synthetic")
    );
}

#[test]
fn describe_reads_a_component_without_running_it() {
    let place = Place::new();
    let ended = place.call(["describe", probe()]);
    ended.expect(0);
    assert!(ended.stdout.starts_with("probe 0.1.0"), "{}", ended.text());
    let other = place.call(["describe", "./nothing.wasm"]);
    other.expect(4).says("No such file");
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn describe_does_not_know_every_name() {
    snapshot!(Place::new().call(["describe", "choleski"]).expect(2).text());
}

#[test]
fn env_is_what_a_run_writes() {
    let place = Place::new();
    let json = place.call(["env", "--json"]).expect(0).json();
    for part in ["hardware", "packages", "runtime", "system", "threads"] {
        assert!(json[part].is_object(), "{part}");
    }
    place
        .run(&[
            "synthetic",
            "--app.structure=sequential",
            "--app.task-count=1",
            "-q",
        ])
        .expect(0);
    let written = fs::read_to_string(place.only_run().join("environment.json")).expect("read");
    let written: serde_json::Value = serde_json::from_str(&written).expect("JSON");
    for part in [
        "logical_cores",
        "memory_capacity",
        "architecture",
        "cpu_model",
    ] {
        assert!(!json["hardware"][part].is_null(), "{part}");
        assert_eq!(json["hardware"][part], written["hardware"][part], "{part}");
    }
    assert!(
        written["components"]["synthetic.wasm"].is_string(),
        "{written}"
    );
    assert!(
        place
            .call(["env"])
            .expect(0)
            .stdout
            .contains("logical_cores: ")
    );
}

#[test]
fn doctor_finds_what_matters() {
    let place = Place::new();
    let ended = place.call(["doctor"]);
    ended.expect(0);
    for what in ["kernel", "PAGEMAP_SCAN", "memfd", "cache", "disk"] {
        assert!(
            ended.stdout.contains(&format!("{what}: ")),
            "{what}: {}",
            ended.text()
        );
    }
    let json = place.call(["doctor", "--json"]).expect(0).json();
    assert!(json.to_string().contains("PAGEMAP_SCAN"), "{json}");
}

#[test]
fn completions_know_apps_and_flags() {
    let place = Place::new();
    let apps = ["cholesky", "mapreduce", "synthetic"];
    // In fish, the generator knows values of flags only.
    for (shell, apps) in [("bash", &apps[..]), ("zsh", &apps), ("fish", &[])] {
        let ended = place.call(["completions", shell]);
        ended.expect(0);
        for word in apps.iter().chain(&["task-timeout", "doctor"]) {
            assert!(ended.stdout.contains(word), "{shell}: {word}");
        }
    }
    place.call(["completions", "dos"]).expect(2).says("bash");
}

#[test]
fn bash_reads_its_completions() {
    let place = Place::new();
    let script = place.call(["completions", "bash"]).stdout;
    place.write("completions.bash", script);
    let status = std::process::Command::new("bash")
        .args(["-n", "completions.bash"])
        .current_dir(place.path())
        .status();
    assert!(status.expect("bash").success());
}

#[test]
fn man_is_a_manual_page() {
    let ended = Place::new().call(["man"]);
    ended.expect(0);
    assert!(ended.stdout.contains(".TH taps-wasm 1"), "{}", ended.text());
    for code in ["130", "interrupted"] {
        assert!(ended.stdout.contains(code), "{code}");
    }
}

#[test]
fn unknown_commands_name_the_nearest() {
    let place = Place::new();
    place
        .call(["frob"])
        .expect(2)
        .says("unrecognized subcommand 'frob'");
    place.call(["lsit"]).expect(2).says("list");
    place.call(["list", "app"]).expect(2).says("apps");
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let place = Place::new();
    let mut command = place.command(["man"]);
    let mut child = command.spawn().expect("start");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("wait");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}
