//! The example whose tasks are written in C, Python, JavaScript and Rust, as one bundle. `scripts/languages` makes the
//! components.

use crate::harness::{CACHE, Place, run_dir, skip, tasks};
use serde_json::{Value, json};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};
use taps_bundle::{ARCHIVE_SUFFIX, Digest};

/// Languages whose tasks lie in components of their own.
const FOREIGN: [&str; 3] = ["c", "python", "javascript"];

/// How tasks may be run; results must not depend on it.
const EXECUTIONS: [&[&str]; 4] = [
    &["--executor.max-threads=1"],
    &["--executor.max-threads=2", "--instances=fresh"],
    &["--executor.max-threads=2", "--instances=reuse"],
    &["--executor=process-pool", "--executor.max-processes=2"],
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where `scripts/languages` leaves what it makes.
fn languages() -> PathBuf {
    let build = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    build.expect("cargo's layout").join("languages")
}

/// The components in other languages, made of the present sources; `None`, visibly, where they were never made and
/// are not required.
fn components() -> Option<[PathBuf; 3]> {
    static MADE: OnceLock<bool> = OnceLock::new();
    let files = FOREIGN.map(|name| languages().join(format!("{name}_tasks.wasm")));
    let made = *MADE.get_or_init(|| {
        let required = env::var_os("TAPS_REQUIRE_LANGUAGES").is_some_and(|value| value == "1");
        if !required && !files.iter().all(|file| file.is_file()) {
            return false;
        }
        let target = languages();
        let output = Command::new(root().join("scripts/languages"))
            .env("CARGO_TARGET_DIR", target.parent().expect("a directory"))
            .output()
            .expect("run scripts/languages");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "scripts/languages:\n{said}");
        true
    });
    if !made {
        skip("no components in other languages: run scripts/languages");
    }
    made.then_some(files)
}

/// `bundle build` of the recipe of the example, whose driver is built already, without the components that `keep`
/// rejects. There is no limit of time: Python and JavaScript may have to be compiled.
#[track_caller]
fn build(place: &Place, keep: impl Fn(&str) -> bool) -> (PathBuf, Value) {
    let recipe = fs::read_to_string(root().join("examples/polyglot/bundle.toml"));
    let mut recipe: toml::Table = recipe.expect("a recipe").parse().expect("TOML");
    let listed = recipe["component"].as_array_mut().expect("components");
    assert_eq!(listed.len(), 1 + FOREIGN.len());
    for component in &mut *listed {
        let component = component.as_table_mut().expect("a table");
        let file = if component.remove("crate").is_some() {
            taps_fixtures::polyglot().to_owned()
        } else {
            let file = component["file"].as_str().expect("a path");
            languages().join(Path::new(file).file_name().expect("a name"))
        };
        let file = file.to_str().expect("UTF-8");
        component.insert("file".to_owned(), file.into());
    }
    listed.retain(|component| keep(component["file"].as_str().expect("a path")));
    place.write("bundle.toml", recipe.to_string());
    let bundle = place.path().join(format!("polyglot{ARCHIVE_SUFFIX}"));
    let args = ["bundle", "build", ".", "--json", "--output"];
    let mut command = place.command(args);
    let output = command.arg(&bundle).output().expect("build a bundle");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let json = serde_json::from_slice(&output.stdout).expect("JSON");
    (bundle, json)
}

/// The whole bundle, built once for all tests, and what `bundle build` says of it.
fn bundle() -> Option<&'static (PathBuf, Value)> {
    static BUNDLE: OnceLock<(PathBuf, Value)> = OnceLock::new();
    components()?;
    Some(BUNDLE.get_or_init(|| {
        let place = Place::new();
        let (built, json) = build(&place, |_| true);
        let kept = Path::new(CACHE).join(built.file_name().expect("a name"));
        fs::create_dir_all(CACHE).expect("a directory");
        fs::copy(built, &kept).expect("keep the bundle");
        (kept, json)
    }))
}

/// Runs the bundle, which must pass its checks.
#[track_caller]
fn run(bundle: &Path, args: &[&str]) -> (Place, Value) {
    let place = Place::new();
    let bundle = bundle.to_str().expect("UTF-8");
    let (ended, json) = place.json(&[&[bundle, "--allow"], args].concat());
    ended.expect(0);
    assert_eq!(json["ok"], true, "{json}");
    (place, json)
}

/// The record of the only task with that name.
#[track_caller]
fn only<'a>(tasks: &'a [Value], name: &str) -> &'a Value {
    let mut named = tasks.iter().filter(|task| task["name"] == name);
    let task = named.next().expect("a task of that name");
    assert_eq!(named.next(), None, "{name}");
    task
}

#[test]
fn the_bindings_of_c_are_of_this_interface() {
    let wit = fs::read(root().join("wit/taps.wit")).expect("the interface");
    let of = root().join("examples/c-tasks/bindings/taps.wit.sha256");
    let of = fs::read_to_string(of).expect("the digest of an interface");
    assert_eq!(
        Digest::of(&wit).to_string(),
        format!("sha256:{}", of.trim()),
        "the interface has changed since: examples/c-tasks/build --bindings"
    );
}

#[test]
fn a_bundle_of_four_languages_says_what_it_needs() {
    let Some((bundle, json)) = bundle() else {
        return;
    };
    let needs = |name: &str| {
        let components = json["components"].as_array().expect("components");
        let mut components = components.iter();
        let found = components.find(|component| component["file"] == format!("{name}.wasm"));
        found.unwrap_or_else(|| panic!("no {name} in {json}"))
    };
    assert_eq!(needs("taps_polyglot")["instances"], Value::Null);
    assert_eq!(needs("c_tasks")["instances"], Value::Null);
    for interpreted in ["python_tasks", "javascript_tasks"] {
        let component = needs(interpreted);
        assert_eq!(component["instances"], "prewarmed", "{interpreted}");
        let imports = component["imports"].to_string();
        for absent in ["taps:core/program", "taps:core/kernels", "wasi:http"] {
            assert!(!imports.contains(absent), "{interpreted}: {imports}");
        }
    }
    assert_eq!(needs("python_tasks")["core_instances"], 14);
    let place = Place::new();
    let bundle = bundle.to_str().expect("UTF-8");
    let inspected = place.call(["bundle", "inspect", "--json", bundle]);
    let inspected = inspected.expect(0).json();
    assert_eq!(inspected["digest"], json["digest"]);
}

#[test]
fn all_languages_agree_on_every_executor() {
    let Some((bundle, _)) = bundle() else { return };
    let args = ["--app.words=20000", "--app.parts=12"];
    let results = EXECUTIONS.map(|execution| {
        let (_place, json) = run(bundle, &[&args[..], execution].concat());
        let tasks = tasks(&run_dir(&json));
        for language in FOREIGN {
            let counted = format!("{language}_count_words");
            let counted = tasks.iter().filter(|task| task["name"] == counted);
            assert_eq!(counted.count(), 3, "{language} with {execution:?}");
        }
        assert_eq!(tasks.len(), 12 + 3 + 4 + 3 + 8);
        assert!(tasks.iter().all(|task| task["outcome"] == "ok"));
        (json["values"].clone(), json["checks"].clone())
    });
    for (result, execution) in results.iter().zip(EXECUTIONS) {
        assert_eq!(result, &results[0], "{execution:?}");
    }
}

#[test]
fn small_and_large_payloads_reach_every_language() {
    let Some((bundle, _)) = bundle() else { return };
    for (words, input, output) in [("10", "inline", "inline"), ("200000", "read", "copied")] {
        let words = format!("--app.words={words}");
        let (_place, json) = run(bundle, &[&words, "--app.parts=2"]);
        let tasks = tasks(&run_dir(&json));
        for language in FOREIGN {
            let task = only(&tasks, &format!("{language}_reverse"));
            assert_eq!(task["inputs"][0]["way"], input, "{task}");
            assert_eq!(task["outputs"][0]["way"], output, "{task}");
            assert_eq!(task["inputs"][0]["bytes"], task["outputs"][0]["bytes"]);
        }
    }
}

#[test]
fn a_task_that_goes_wrong_has_its_outcome_in_every_language() {
    let Some((bundle, _)) = bundle() else { return };
    for execution in [EXECUTIONS[1], EXECUTIONS[3]] {
        let (_place, json) = run(bundle, &[&["--app.misbehave=true"], execution].concat());
        let said = |name: &str| json["values"][format!("{name}_says")].as_str();
        for (name, expected) in [
            ("c_error", "AskedFor: asked for by the driver"),
            ("python_error", "ValueError: asked for by the driver"),
            ("javascript_error", "RangeError: asked for by the driver"),
            ("python_network", "PermissionError: "),
        ] {
            let said = said(name).expect("what it says");
            assert!(said.starts_with(expected), "{name}: {said}");
        }
        // Where it went wrong.
        assert!(said("python_error").is_some_and(|said| said.contains("python_tasks.py:")));
        let mut outcomes: Vec<_> = tasks(&run_dir(&json))
            .iter()
            .map(|task| (task["name"].clone(), task["outcome"].clone()))
            .collect();
        outcomes.sort_by_key(|outcome| format!("{outcome:?}"));
        let mut expected = Vec::new();
        for language in FOREIGN {
            let name = json!(format!("{language}_misbehave"));
            let network: &[_] = match language {
                "python" => &["task-error"],
                _ => &[],
            };
            let all = ["out-of-memory", "task-error", "trap"];
            let all = all.iter().chain(network);
            expected.extend(all.map(|outcome| (name.clone(), json!(outcome))));
        }
        expected.sort_by_key(|outcome| format!("{outcome:?}"));
        assert_eq!(outcomes, expected, "{execution:?}");
    }
}

#[test]
fn a_task_whose_component_was_left_out_is_named() {
    if components().is_none() {
        return;
    }
    let place = Place::new();
    let in_c = |file: &str| !file.contains("python") && !file.contains("javascript");
    let (bundle, json) = build(&place, in_c);
    // Building it again, of the same components, gives the same.
    assert_eq!(build(&Place::new(), in_c).1["digest"], json["digest"]);
    let bundle = bundle.to_str().expect("UTF-8");
    let ended = place.run(&[bundle, "--allow", "--app.words=100"]);
    ended.expect(1).says("python_count_words");
}

#[test]
fn two_tasks_of_one_name_are_refused() {
    let Some([c, _, _]) = components() else {
        return;
    };
    let driver = taps_fixtures::polyglot().to_str().expect("UTF-8");
    let c = c.to_str().expect("UTF-8");
    let place = Place::new();
    let ended = place.call(["bundle", "build", driver, c, c]);
    assert_ne!(ended.code, Some(0));
    ended.says("c_count_words").says("a name that no task of");
    assert_eq!(place.names(), [""; 0]);
}
