//! The whole app with the real programs, where they are installed.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use taps::Report;
use taps::testing::{Local, data, installed};

use crate::APP;

/// A run in a directory of its own.
pub(super) struct Run {
    pub(super) directory: tempfile::TempDir,
    pub(super) result: taps::Result<Report>,
}

impl Run {
    pub(super) fn new(config: Value) -> Self {
        Self::shuffled(config, 1)
    }

    fn shuffled(mut config: Value, order: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        config["output_dir"] = json!(directory.path().join("data"));
        let result = Local::new().shuffled(order).run_app(&APP, &config);
        Self { directory, result }
    }

    pub(super) fn report(&self) -> &Report {
        let report = self.result.as_ref().unwrap();
        assert!(report.passed(), "{report:?}");
        report
    }

    pub(super) fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join("data").join(name)).unwrap()
    }

    pub(super) fn value(&self, name: &str) -> &Value {
        let values = &self.report().values;
        &values.iter().find(|(key, _)| key == name).unwrap().1
    }

    fn prepared(&self) -> PathBuf {
        self.directory.path().join("data/prepared")
    }
}

/// A small run of the built-in sample.
fn small() -> Value {
    json!({
        "initial_simulations": 4, "num_iterations": 1, "batch_size": 2, "exhaustiveness": 1,
        "num_modes": 3,
    })
}

/// A table of a few ligands of the data, by title.
fn few(data: &Path, directory: &Path, titles: &[&str]) -> PathBuf {
    let table = std::fs::read_to_string(data.join("docking/ligands.csv")).unwrap();
    let mut kept = "TITLE,SMILES\n".to_owned();
    for title in titles {
        let mut rows = table.lines();
        let row = rows.find(|row| row.split(',').next() == Some(title));
        kept.extend([row.unwrap(), "\n"]);
    }
    let path = directory.join("few.csv");
    std::fs::write(&path, kept).unwrap();
    path
}

#[test]
fn the_sample_runs_without_data() {
    if !installed(&["vina", "obabel"]) {
        return;
    }
    let run = Run::new(small());
    assert_eq!(run.report().checks[0].value, json!(6));
    assert_eq!(*run.value("failed"), json!(0));
    assert!(run.value("best_score").as_f64().unwrap() < 0.0);
    let training: Value = serde_json::from_str(&run.file("training-results.json")).unwrap();
    for column in ["smiles", "score", "time"] {
        assert_eq!(training[column].as_object().unwrap().len(), 6, "{column}");
    }
    let results = run.file("results.csv");
    assert_eq!(results.lines().count(), 7);
    assert!(results.starts_with("title,smiles,round,score,best,worst,modes,error\n"));
    assert_eq!(std::fs::read_dir(run.prepared()).unwrap().count(), 6);
}

#[test]
fn the_order_of_completion_changes_nothing() {
    if !installed(&["vina", "obabel"]) {
        return;
    }
    let first = Run::shuffled(small(), 1);
    let other = Run::shuffled(small(), 2);
    assert_eq!(first.file("results.csv"), other.file("results.csv"));
    let mut config = small();
    config["seed"] = json!(1);
    let seeded = Run::shuffled(config, 1);
    assert_ne!(first.file("results.csv"), seeded.file("results.csv"));
}

#[test]
fn a_campaign_is_repeated_from_its_prepared_ligands() {
    if !installed(&["vina", "obabel"]) {
        return;
    }
    let first = Run::new(small());
    let mut config = small();
    config["prepared_dir"] = json!(first.prepared());
    let table = first.directory.path().join("ligands.csv");
    let rows: Vec<String> = first
        .file("results.csv")
        .lines()
        .skip(1)
        .map(|row| row.split(',').take(2).collect::<Vec<_>>().join(","))
        .collect();
    std::fs::write(&table, format!("TITLE,SMILES\n{}\n", rows.join("\n"))).unwrap();
    config["smi_file_name_ligand"] = json!(table);
    let receptor = first.directory.path().join("receptor.pdbqt");
    std::fs::write(&receptor, crate::sample::receptor([15.614, 53.38, 15.455])).unwrap();
    config["receptor"] = json!(receptor);
    let again = Run::new(config);
    let scores = |run: &Run| {
        let results = run.file("results.csv");
        let mut rows: Vec<String> = results
            .lines()
            .skip(1)
            .map(|row| {
                let cells: Vec<_> = row.split(',').collect();
                format!("{} {} {}", cells[0], cells[3], cells[6])
            })
            .collect();
        rows.sort();
        rows
    };
    assert_eq!(scores(&first), scores(&again));
}

#[test]
fn a_search_space_that_runs_out_ends_the_campaign() {
    if !installed(&["vina", "obabel"]) {
        return;
    }
    let mut config = small();
    let table = "TITLE,SMILES\na,c1ccccc1\nb,c1ccccn1\nc,c1ccncn1\nd,c1ccoc1\ne,c1ccsc1\n";
    let place = tempfile::tempdir().unwrap();
    for (field, name, content) in [
        ("smi_file_name_ligand", "ligands.csv", table.to_owned()),
        (
            "receptor",
            "receptor.pdbqt",
            crate::sample::receptor([15.614, 53.38, 15.455]),
        ),
    ] {
        std::fs::write(place.path().join(name), content).unwrap();
        config[field] = json!(place.path().join(name));
    }
    let run = Run::new(config);
    assert_eq!(run.report().checks[0].value, json!(5));
    assert_eq!(
        run.report().checks[2].value,
        json!(1),
        "one round, with one molecule"
    );
}

#[test]
fn a_small_campaign_on_the_data() {
    let Some(data) = data() else { return };
    if !installed(&["vina", "obabel"]) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let table = few(
        &data,
        place.path(),
        &["DB00120", "DB00936", "DB00191", "DB00356", "DB00797"],
    );
    let run = Run::new(json!({
        "smi_file_name_ligand": table, "receptor": data.join("docking/1iep_receptor.pdbqt"),
        "initial_simulations": 4, "num_iterations": 1, "batch_size": 1, "exhaustiveness": 1,
    }));
    assert_eq!(run.report().checks[0].value, json!(5));
    // An amino acid in a pocket of a kinase.
    assert!(run.value("best_score").as_f64().unwrap() < -4.0);
    // Prepared as by one call of Open Babel on the SMILES.
    let name = "DB00120.obabel.pdbqt";
    let expected = data.join("expected/docking/prepared").join(name);
    let expected = std::fs::read_to_string(expected).unwrap();
    assert_eq!(run.file("prepared/DB00120.pdbqt"), expected);
}

#[test]
fn scores_from_prepared_ligands_are_exactly_those_expected() {
    let Some(data) = data() else { return };
    if !installed(&["vina"]) {
        return;
    }
    let expected = data.join("expected/docking");
    let place = tempfile::tempdir().unwrap();
    // The smallest of them; the largest takes most of a minute.
    let table = few(&data, place.path(), &["DB00120"]);
    let run = Run::new(json!({
        "smi_file_name_ligand": table, "receptor": data.join("docking/1iep_receptor.pdbqt"),
        "prepared_dir": expected.join("prepared"), "expected": expected.join("result_dev.tsv"),
        "initial_simulations": 1, "num_iterations": 0,
    }));
    let checks = &run.report().checks;
    let check = |name: &str| {
        &checks
            .iter()
            .find(|check| check.name == name)
            .unwrap()
            .value
    };
    assert_eq!(*check("expected_compared"), json!(1));
    assert_eq!(*check("expected_difference"), json!(0.0));
}

#[test]
fn meeko_prepares_ligands() {
    if !installed(&["vina", "obabel", "mk_prepare_ligand.py"]) {
        return;
    }
    let mut config = small();
    config["prepare"] = json!("meeko");
    config["num_iterations"] = json!(0);
    let run = Run::new(config);
    let files = std::fs::read_dir(run.prepared()).unwrap();
    for file in files {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(text.contains("REMARK SMILES"), "Meeko writes it: {text}");
    }
}

#[test]
fn the_row_of_taps_is_another_than_the_best() {
    if !installed(&["vina", "obabel"]) {
        return;
    }
    let mut config = small();
    config["num_iterations"] = json!(0);
    config["num_modes"] = json!(9);
    config["score"] = json!("taps-row");
    let results = Run::new(config).file("results.csv");
    let worse = results.lines().skip(1).filter(|row| {
        let cells: Vec<_> = row.split(',').collect();
        let number = |cell: usize| cells[cell].parse::<f64>().unwrap();
        assert!((number(4)..=number(5)).contains(&number(3)), "{row}");
        number(3) > number(4)
    });
    assert!(worse.count() > 0, "{results}");
}
