//! The search for molecules, with the real programs, confined.

use crate::harness::{self, Place, data, names, run_dir, tasks};
use serde_json::Value;
use std::{fs, path::Path};

/// Whether the programs are installed; if not, the test says so.
fn programs() -> bool {
    harness::installed(&["obabel", "xtb"])
}

#[track_caller]
fn run(place: &Place, args: &[&str]) -> Value {
    let (ended, json) = place.json(&[&["moldesign", "--app.output-dir=out"], args].concat());
    ended.expect(0);
    json
}

/// Lines of `results.csv`, without its header.
#[track_caller]
fn table(directory: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(directory.join("results.csv")).expect("results.csv");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("smiles,ie,batch,time"));
    let fields = |line: &str| line.split(',').map(str::to_owned).collect();
    lines.map(fields).collect()
}

/// How many tasks of a name succeeded.
fn succeeded(run: &Path, name: &str) -> usize {
    let named = |task: &&Value| task["name"] == name && task["success"] == true;
    tasks(run).iter().filter(named).count()
}

const FEW: [&str; 4] = [
    "--app.initial-count=4",
    "--app.search-count=8",
    "--app.batch-size=2",
    "--app.inference-chunks=5",
];

#[test]
fn well_known_molecules_are_searched_without_data() {
    if !programs() {
        return;
    }
    for executor in ["thread-pool", "process-pool"] {
        let place = Place::new();
        let json = run(&place, &[&FEW[..], &["--executor", executor]].concat());
        let run = run_dir(&json);
        let out = place.path().join("out");
        assert_eq!(names(&out), ["results.csv", "results.png"]);
        let table = table(&out);
        assert_eq!(table.len(), 8, "{executor}");
        let batches: Vec<_> = table.iter().map(|line| line[2].as_str()).collect();
        assert_eq!(batches, ["0", "0", "0", "0", "1", "1", "2", "2"]);
        for (task, count) in [
            ("compute_vertical", 8),
            ("train_model", 2),
            ("run_model", 10),
            ("combine_inferences", 2),
        ] {
            assert_eq!(succeeded(&run, task), count, "{executor}: {task}");
        }
        let plot = fs::read(out.join("results.png")).expect("results.png");
        assert_eq!(plot[..8], *b"\x89PNG\r\n\x1a\n");
    }
}

#[test]
fn eight_and_eight_molecules_of_a_data_set() {
    let (true, Some(data)) = (programs(), data()) else {
        return;
    };
    let place = Place::new();
    let dataset = data.join("moldesign/QM9-search.tsv");
    let json = run(
        &place,
        &[
            "--app.dataset",
            dataset.to_str().expect("UTF-8"),
            "--app.search-count=16",
            "--seed=5",
        ],
    );
    let run = run_dir(&json);
    let mut smiles: Vec<_> = table(&place.path().join("out"))
        .into_iter()
        .map(|mut line| line.remove(0))
        .collect();
    assert_eq!(smiles.len(), 16);
    smiles.sort();
    smiles.dedup();
    assert_eq!(smiles.len(), 16, "no molecule comes twice");
    let rounds = succeeded(&run, "train_model");
    assert!(rounds >= 2);
    assert_eq!(succeeded(&run, "run_model"), 64 * rounds);
}

#[test]
fn energies_are_those_expected_from_given_geometries() {
    let (true, Some(data)) = (programs(), data()) else {
        return;
    };
    let expected = data.join("expected/moldesign");
    let place = Place::new();
    // The header, and the three molecules that have a geometry, and one more.
    let all = fs::read_to_string(expected.join("ip_dev_rdkit.tsv")).expect("the table");
    let few: Vec<_> = all.lines().take(5).collect();
    place.write("few.tsv", few.join("\n"));
    let geometries = expected.join("geoms");
    let json = run(
        &place,
        &[
            "--app.dataset=few.tsv",
            "--app.expected=few.tsv",
            "--app.geometries",
            geometries.to_str().expect("UTF-8"),
            "--app.initial-count=4",
            "--app.search-count=4",
        ],
    );
    let checks = json["checks"].as_array().expect("checks");
    let value = |name: &str| {
        let check = checks.iter().find(|check| check["name"] == name);
        check.expect("a check")["value"].as_f64().expect("a number")
    };
    assert!((value("compared") - 4.0).abs() < 1e-9);
    assert!(value("difference_given_geometry_ev") < 0.001);
}

/// Molecules that cannot be computed are records of their own, and the search goes on.
#[test]
fn molecules_that_fail_are_recorded_by_kind() {
    if !programs() {
        return;
    }
    let place = Place::new();
    place.write("bad.tsv", "smiles\nC1CC\n[U]\n[NH4+]\nO\nN\nC\nF\n");
    let json = run(
        &place,
        &[
            "--app.dataset=bad.tsv",
            "--app.initial-count=4",
            "--app.search-count=7",
        ],
    );
    assert_eq!(json["values"]["failures"], 3, "{json}");
    let records = tasks(&run_dir(&json));
    for kind in ["BadSmiles", "UnknownElement", "Charged"] {
        let found = records.iter().filter(|task| {
            task["success"] == false && task["exception"].to_string().contains(kind)
        });
        assert_eq!(found.count(), 1, "{kind}: {records:?}");
    }
}

#[test]
fn a_bad_data_set_is_refused_by_its_line() {
    if !programs() {
        return;
    }
    let place = Place::new();
    place.write("bad.tsv", "id smiles\n0 C\n1\n");
    let ended = place.run(&["moldesign", "--app.dataset=bad.tsv"]);
    assert_ne!(ended.code, Some(0));
    ended
        .expect(2)
        .says("expected 2 fields")
        .says("bad.tsv, line 3");
    let runs = names(&place.path().join("runs"));
    assert_eq!(runs, [""; 0], "nothing half-written");
}
