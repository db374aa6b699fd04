//! Docking with the real programs, confined.

use crate::harness::{self, Ended, Place, data, run_dir, tasks};
use serde_json::{Value, json};
use std::{fs, path::Path};

const POOLS: [&str; 2] = ["--executor=thread-pool", "--executor=process-pool"];

/// The smallest campaign, on the built-in input.
const SMALL: [&str; 6] = [
    "docking",
    "--app.initial-simulations=4",
    "--app.num-iterations=1",
    "--app.batch-size=2",
    "--app.exhaustiveness=1",
    "--app.num-modes=2",
];

const TABLE: &str = "TITLE,SMILES\nbenzene,c1ccccc1\nbad,c1cccc\nphenol,c1ccccc1O\npyridine,c1ccccn1\n\
                     worse,CXz\ntoluene,c1ccccc1C\n";

/// An atom in the default box.
const RECEPTOR: &str =
    "ATOM      1  C   PKT A   1      15.614  53.380  11.455  1.00  0.00     0.000 C \n";

/// What the app needs.
fn installed() -> bool {
    harness::installed(&["vina", "obabel"])
}

fn results(json: &Value) -> String {
    fs::read_to_string(run_dir(json).join("data/results.csv")).expect("results.csv")
}

#[test]
fn both_pools_dock_the_same() {
    if !installed() {
        return;
    }
    let runs = POOLS.map(|pool| {
        let place = Place::new();
        let (ended, json) = place.json(&[&SMALL[..], &[pool]].concat());
        ended.expect(0);
        assert_eq!(json["checks"][0]["value"], 6, "{json}");
        let run = run_dir(&json);
        let records = tasks(&run);
        let vina = records.iter().find(|task| task["name"] == "autodock_vina");
        let vina = vina.expect("a docking");
        assert_eq!(vina["programs"][0]["program"], "vina", "{vina}");
        let environment = fs::read(run.join("environment.json")).expect("a file");
        let environment: Value = serde_json::from_slice(&environment).expect("JSON");
        let version = environment["natives"]["vina"].as_str().expect("a version");
        assert!(version.starts_with("AutoDock Vina"), "{version}");
        (results(&json), json["values"].clone())
    });
    assert_eq!(runs[0], runs[1]);
}

/// Writes receptor and table, and gives the options that name them.
fn files(place: &Place, receptor: &str, table: &str) -> Vec<String> {
    let receptor = place.write("receptor.pdbqt", receptor);
    let table = place.write("ligands.csv", table);
    let option = |name: &str, path: &Path| format!("--app.{name}={}", path.display());
    vec![
        option("receptor", &receptor),
        option("smi-file-name-ligand", &table),
    ]
}

fn run(place: &Place, files: &[String], more: &[&str]) -> (Ended, Value) {
    let files = files.iter().map(String::as_str);
    let args: Vec<&str> = SMALL
        .into_iter()
        .chain(files)
        .chain(more.iter().copied())
        .collect();
    let ended = place.run(&[&args[..], &["--json"]].concat());
    let json = serde_json::from_str(&ended.stdout).unwrap_or_default();
    (ended, json)
}

#[test]
fn input_that_cannot_be_docked_is_refused_before_the_run() {
    let place = Place::new();
    let no_receptor = files(&place, "hello\n", TABLE);
    let (ended, _) = run(&place, &no_receptor, &[]);
    ended.expect(2).says("a PDBQT file of a rigid receptor");
    ended.says("line 1: no record of a receptor: \"hello\"");
    let good = files(&place, RECEPTOR, TABLE);
    let (ended, _) = run(&place, &good, &["--app.initial-simulations=3"]);
    ended.expect(2).says("at least 4, which the model needs");
    let no_table = files(&place, RECEPTOR, "NAME\nbenzene\n");
    let (ended, _) = run(&place, &no_table, &[]);
    ended.expect(2).says("columns TITLE and SMILES");
}

#[test]
fn smiles_that_do_not_parse_are_counted_and_the_campaign_goes_on() {
    if !installed() {
        return;
    }
    let place = Place::new();
    let files = files(&place, RECEPTOR, TABLE);
    let (ended, json) = run(&place, &files, &["--app.num-iterations=0"]);
    ended.expect(0);
    assert_eq!(json["checks"][0]["value"], 4, "{json}");
    let failures = json["values"]["failures"].as_array().expect("a list");
    for failure in failures {
        assert_eq!(failure[1], "InvalidSmiles", "{failure}");
    }
    let (ended, json) = run(&place, &files, &["--app.max-failures=0", "--app.seed=0"]);
    if json["values"]["failed"] != json!(0) {
        ended
            .expect(1)
            .says("could not be docked (max_failures = 0)");
    }
}

#[test]
fn a_program_that_is_missing_is_named() {
    if !installed() {
        return;
    }
    let place = Place::new();
    let (ended, _) = run(&place, &[], &["--app.prepare=mgltools"]);
    assert_ne!(ended.code, Some(0), "{}", ended.text());
    ended.says("prepare_ligand4.py");
    // Vina itself is needed whatever the options: nothing begins without it.
    let mut command = place.command([&["run"][..], &SMALL].concat());
    let empty = place.write("bin/none", "");
    command.env("PATH", empty.parent().expect("a directory"));
    let ended = crate::harness::Running::new(command, place.path()).end();
    assert_ne!(ended.code, Some(0), "{}", ended.text());
    ended.says("vina").says("apt-get install autodock-vina");
}

#[test]
fn prepared_ligands_give_the_expected_scores() {
    let Some(data) = data() else { return };
    if !installed() {
        return;
    }
    let place = Place::new();
    let table = "TITLE,SMILES\nDB00120,c1ccc(cc1)CC(C(=O)[O-])[NH3+]\n";
    let table = place.write("ligands.csv", table);
    let receptor = data.join("docking/1iep_receptor.pdbqt");
    let expected = data.join("expected/docking");
    let (ended, json) = place.json(&[
        "docking",
        "--app.smi-file-name-ligand",
        table.to_str().expect("UTF-8"),
        "--app.receptor",
        receptor.to_str().expect("UTF-8"),
        "--app.prepared-dir",
        expected.join("prepared").to_str().expect("UTF-8"),
        "--app.expected",
        expected.join("result_dev.tsv").to_str().expect("UTF-8"),
        "--app.initial-simulations=1",
        "--app.num-iterations=0",
    ]);
    ended.expect(0);
    let checks = json["checks"].as_array().expect("checks");
    let difference = checks
        .iter()
        .find(|check| check["name"] == "expected_difference");
    assert_eq!(difference.expect("compared")["value"], 0.0, "{json}");
}
