//! Input that is wrong: a typed error, or a campaign that goes on.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use taps::Error;
use taps::testing::installed;

use super::app::Run;
use crate::sample;

/// Files of a run: receptor and table.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new(table: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = Self { directory };
        files.write("receptor.pdbqt", &sample::receptor([15.614, 53.38, 15.455]));
        files.write("ligands.csv", table);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    fn config(&self) -> Value {
        json!({
            "smi_file_name_ligand": self.path("ligands.csv"), "receptor": self.path("receptor.pdbqt"),
            "initial_simulations": 4, "num_iterations": 1, "batch_size": 1, "exhaustiveness": 1,
            "num_modes": 2,
        })
    }
}

const TABLE: &str = "TITLE,SMILES\n\
    benzene,c1ccccc1\nbad,c1cccc\nphenol,c1ccccc1O\nworse,CXz\n\
    pyridine,c1ccccn1\ntoluene,c1ccccc1C\npyrimidine,c1ccncn1\n";

fn field(config: Value) -> (String, String) {
    match Run::new(config).result {
        Err(error @ Error::Config { .. }) => {
            (error.to_driver_error().field.unwrap(), error.to_string())
        }
        other => panic!("{other:?}"),
    }
}

fn refused(config: Value, name: &str, reason: &str) {
    let (field, text) = field(config);
    assert_eq!(field, name, "{text}");
    assert!(text.contains(reason), "{text}");
}

#[test]
fn a_receptor_that_is_none_is_refused_before_any_task() {
    let files = Files::new(TABLE);
    files.write("receptor.pdbqt", "HEADER\nhello\n");
    refused(
        files.config(),
        "receptor",
        "line 2: no record of a receptor: \"hello\"",
    );
    files.write("receptor.pdbqt", "");
    refused(files.config(), "receptor", "it has no atoms");
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let files = Files::new(TABLE);
    let with = |name: &str, value: Value| {
        let mut config = files.config();
        config[name] = value;
        config
    };
    refused(
        with("initial_simulations", json!(3)),
        "initial_simulations",
        "at least 4, which the model needs",
    );
    refused(
        with("initial_simulations", json!(8)),
        "initial_simulations",
        "at most the 7 different",
    );
    refused(
        with("receptor", Value::Null),
        "smi_file_name_ligand",
        "a receptor",
    );
    refused(
        with("smi_file_name_ligand", Value::Null),
        "receptor",
        "a table of molecules",
    );
    refused(with("vina_seed", json!(0)), "vina_seed", "from 1 to");
    refused(with("size_x", json!(0.0)), "size_x", "from 1 to 200");
    let directory = files.directory.path();
    refused(
        with("prepared_dir", json!(directory)),
        "prepared_dir",
        "files TITLE.pdbqt or TITLE.obabel.pdbqt",
    );
    refused(
        with("expected", json!(directory.join("ligands.csv"))),
        "expected",
        "columns title and best",
    );
    files.write("expected.tsv", "title\troute\tbest\nbenzene\tmeeko\t-3.0\n");
    refused(
        with("expected", json!(directory.join("expected.tsv"))),
        "expected",
        "rows of the route obabel",
    );
    files.write("ligands.csv", "NAME,FORMULA\n");
    refused(
        files.config(),
        "smi_file_name_ligand",
        "columns TITLE and SMILES",
    );
}

#[test]
fn smiles_that_are_none_are_counted_and_others_take_their_place() {
    if !installed(&["vina", "obabel"]) {
        return;
    }
    let files = Files::new(TABLE);
    let run = Run::new(files.config());
    assert_eq!(
        run.report().checks[0].value,
        json!(5),
        "all that can be docked"
    );
    let failures = run.value("failures").as_array().unwrap();
    let results = run.file("results.csv");
    for failure in failures {
        assert_eq!(failure[1], json!("InvalidSmiles"), "{failure}");
        assert!(
            results.contains(&format!("{},", failure[0].as_str().unwrap())),
            "{results}"
        );
    }
    assert_eq!(*run.value("failed"), json!(failures.len()));
    assert_eq!(results.lines().count(), 1 + 5 + failures.len());
}

#[test]
fn a_campaign_in_which_all_fails_ends_with_the_reason() {
    if !installed(&["vina", "obabel"]) {
        return;
    }
    let files = Files::new("TITLE,SMILES\na,X1\nb,X2\nc,X3\nd,X4\ne,X5\nf,X6\n");
    let mut config = files.config();
    config["max_failures"] = json!(2);
    let error = Run::new(config).result.unwrap_err();
    assert_eq!(error.kind(), "TooManyFailures");
    let text = error.to_string();
    assert!(
        text.starts_with("3 of 3 molecules could not be docked (max_failures = 2)"),
        "{text}"
    );
    assert!(
        text.contains("is no SMILES that Open Babel can read"),
        "{text}"
    );
    // Where all may fail, there is nothing to learn from.
    let error = Run::new(files.config()).result.unwrap_err();
    assert_eq!(error.kind(), "TooFewDocked");
}

/// A directory with a prepared file for each molecule of the table, all with this content.
fn prepared(files: &Files, content: &str) -> Value {
    let directory = files.path("prepared");
    fs::create_dir(&directory).unwrap();
    for title in ["benzene", "phenol", "pyridine", "toluene"] {
        write(&directory, title, content);
    }
    let mut config = files.config();
    config["prepared_dir"] = json!(directory);
    config
}

fn write(directory: &Path, title: &str, content: &str) {
    fs::write(directory.join(format!("{title}.pdbqt")), content).unwrap();
}

#[test]
fn prepared_files_that_are_no_ligands_are_typed_failures() {
    let files = Files::new(TABLE);
    let mut config = prepared(&files, "REMARK nothing\n");
    config["max_failures"] = json!(0);
    let error = Run::new(config).result.unwrap_err();
    assert_eq!(error.kind(), "TooManyFailures");
    assert!(
        error
            .to_string()
            .contains("no PDBQT file of a ligand: it has no atoms"),
        "{error}"
    );
}

#[test]
fn what_vina_refuses_is_told_in_its_words() {
    if !installed(&["vina"]) {
        return;
    }
    let files = Files::new(TABLE);
    let atom = "ATOM      1  X   UNL     1      15.614  53.380  15.455  0.00  0.00    +0.000 Xx\n";
    let tree = format!("ROOT\n{atom}ENDROOT\nTORSDOF 0\n");
    let mut config = prepared(&files, &tree);
    config["max_failures"] = json!(0);
    let error = Run::new(config).result.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("program `vina`"), "{text}");
    assert!(
        text.contains("exit code 1") && text.contains("PDBQT parsing error"),
        "{text}"
    );
}

#[test]
fn a_missing_program_ends_the_campaign_at_once() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories = std::env::split_paths(&path);
    if directories.any(|one| one.join("prepare_ligand4.py").exists()) || !installed(&["obabel"]) {
        return;
    }
    let files = Files::new(TABLE);
    let mut config = files.config();
    config["prepare"] = json!("mgltools");
    let error = Run::new(config).result.unwrap_err();
    assert_eq!(error.kind(), "TooManyFailures");
    let text = error.to_string();
    assert!(text.starts_with("1 of 1 molecules"), "{text}");
    assert!(
        text.contains("program `prepare_ligand4.py`: is not installed"),
        "{text}"
    );
}
