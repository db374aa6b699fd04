//! The whole app with the real programs, run locally.
//!
//! Without the programs, or without the data, a test says that it is skipped.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use taps::testing::{Local, Trace, data};
use taps::{Error, Report};

use crate::{APP, known};

/// Whether the programs are installed.
fn programs() -> bool {
    taps::testing::installed(&["obabel", "xtb"])
}

/// A place for inputs and outputs.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Runs the app, with its outputs here.
    fn run(&self, mut config: Value) -> (taps::Result<Report>, Trace) {
        config["output_dir"] = json!(self.0.path());
        Local::new().trace(|engine| (APP.run)(&config, engine))
    }

    #[track_caller]
    fn passing(&self, config: Value) -> (Report, Trace) {
        let (report, trace) = self.run(config);
        let report = report.unwrap();
        assert!(report.passed(), "{report:?}\n{:?}", trace.log);
        (report, trace)
    }

    /// Lines of the table, without its header.
    fn table(&self) -> Vec<Vec<String>> {
        let text = fs::read_to_string(self.0.path().join("results.csv")).unwrap();
        let mut lines = text
            .lines()
            .map(|line| line.split(',').map(str::to_owned).collect());
        let header: Vec<String> = lines.next().unwrap();
        assert_eq!(header, ["smiles", "ie", "batch", "time"]);
        lines.collect()
    }

    fn smiles(&self) -> BTreeSet<String> {
        self.table()
            .into_iter()
            .map(|mut line| line.remove(0))
            .collect()
    }
}

fn value<'a>(report: &'a Report, name: &str) -> &'a Value {
    let found = report.values.iter().find(|(key, _)| key == name);
    &found.unwrap_or_else(|| panic!("{name} in {report:?}")).1
}

fn check<'a>(report: &'a Report, name: &str) -> &'a Value {
    let found = report.checks.iter().find(|check| check.name == name);
    &found
        .unwrap_or_else(|| panic!("{name} in {report:?}"))
        .value
}

fn count(trace: &Trace, task: &str) -> usize {
    let finished = trace.finished.iter();
    finished.filter(|(name, _)| *name == task).count()
}

#[test]
fn a_search_of_eight_and_eight_molecules() {
    let (true, Some(data)) = (programs(), data()) else {
        return;
    };
    let place = Place::new();
    let (report, trace) = place.passing(json!({
        "dataset": data.join("moldesign/QM9-search.tsv"),
        "initial_count": 8, "search_count": 16, "batch_size": 4, "seed": 3,
    }));
    let table = place.table();
    let batches: Vec<_> = table.iter().map(|line| line[2].as_str()).collect();
    let wanted = ["0"; 8].iter().chain(&["1"; 4]).chain(&["2"; 4]);
    assert_eq!(batches, wanted.copied().collect::<Vec<_>>());
    assert_eq!(place.smiles().len(), 16, "no molecule comes twice");
    let best = table
        .iter()
        .map(|line| line[1].parse::<f64>().unwrap())
        .fold(0.0, f64::max);
    assert_eq!(*value(&report, "best_ie_ev"), json!(best));
    let failures = value(&report, "failures").as_u64().unwrap() as usize;
    assert_eq!(count(&trace, "compute_vertical"), 16 + failures);
    assert!(count(&trace, "train_model") >= 2);
    assert_eq!(
        count(&trace, "run_model"),
        64 * count(&trace, "train_model")
    );
    assert_eq!(
        count(&trace, "combine_inferences"),
        count(&trace, "train_model")
    );
    assert_eq!(trace.phases, ["initial", "search", "output"]);
    let png = fs::read(place.0.path().join("results.png")).unwrap();
    assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
    assert_eq!(
        fs::read_dir(place.0.path()).unwrap().count(),
        2,
        "nothing else is left"
    );
}

/// From the same geometry energies agree to 0.02 eV, from another one most do to 0.3 eV.
#[test]
fn energies_are_those_expected_from_given_geometries() {
    let (true, Some(data)) = (programs(), data()) else {
        return;
    };
    let expected = data.join("expected/moldesign");
    let place = Place::new();
    let table = fs::read_to_string(expected.join("ip_dev_rdkit.tsv")).unwrap();
    // The header and seven molecules: three of them have a geometry.
    let table: Vec<_> = table.lines().take(8).collect();
    let table = place.write("few.tsv", &table.join("\n"));
    let (report, trace) = place.passing(json!({
        "dataset": table,
        "expected": table,
        "geometries": expected.join("geoms"),
        "initial_count": 4, "search_count": 7, "batch_size": 2,
    }));
    assert_eq!(*check(&report, "compared"), json!(7));
    let same = check(&report, "difference_given_geometry_ev").as_f64();
    let other = value(&report, "difference_own_geometry_ev").as_f64();
    assert!(same < Some(0.001), "{same:?}");
    assert!(other > same, "{other:?}");
    let line = "start geometries are given for 3 molecules";
    assert!(
        trace.log.iter().any(|(_, text)| text == line),
        "{:?}",
        trace.log
    );
}

/// A result that is not what was expected fails the run.
#[test]
fn a_difference_beyond_the_tolerance_fails_the_check() {
    if !programs() {
        return;
    }
    let place = Place::new();
    let table = place.write(
        "wrong.tsv",
        "smiles ip_raw_eV\nO 18.293\nC 16.942\nN 16.132\nF 20.563\n",
    );
    let mut config = json!({
        "dataset": table, "expected": table, "initial_count": 4, "search_count": 4,
        "tolerance": 0.1,
    });
    let (report, _) = place.run(config.clone());
    let report = report.unwrap();
    let failed = report.checks.iter().filter(|check| !check.passed);
    let failed: Vec<_> = failed.map(|check| check.name.as_str()).collect();
    assert_eq!(failed, ["difference_own_geometry_ev"]);
    config["tolerance"] = json!(0.4);
    place.passing(config);
}

#[test]
fn energies_are_those_expected_from_open_babel() {
    let (true, Some(data)) = (programs(), data()) else {
        return;
    };
    let table = data.join("expected/moldesign/ip_dev_obabel.tsv");
    let place = Place::new();
    let config = json!({
        "dataset": table, "expected": table, "initial_count": 12, "search_count": 12,
    });
    let (report, _) = place.passing(config.clone());
    assert_eq!(*check(&report, "compared"), json!(12));
    assert_eq!(place.smiles().len(), 12);
}

#[test]
fn well_known_molecules_need_no_data() {
    if !programs() {
        return;
    }
    let place = Place::new();
    let (report, _) = place.passing(json!({
        "initial_count": 4, "search_count": 8, "batch_size": 2, "inference_chunks": 3,
    }));
    assert_eq!(*check(&report, "compared"), json!(8));
    let all = known::dataset();
    assert_eq!(all.duplicates, 0);
    assert!(all.molecules.len() > 64, "the default search_count");
}

/// Each kind of molecule that cannot be computed is told apart, named, counted and made up for.
#[test]
fn molecules_that_fail_are_explained_and_replaced() {
    if !programs() {
        return;
    }
    let place = Place::new();
    let dataset = place.write(
        "bad.tsv",
        "smiles\nC1CC\n[XX]\n[U]\n[NH4+]\nO\nN\nC\nCO\n-h\nO\n",
    );
    let config = json!({
        "dataset": dataset, "initial_count": 4, "search_count": 9, "batch_size": 2,
    });
    let (report, trace) = place.passing(config);
    let smiles: Vec<_> = place.smiles().into_iter().collect();
    assert_eq!(smiles, ["C", "CO", "N", "O"]);
    assert_eq!(*value(&report, "failures"), json!(5));
    assert_eq!(
        *value(&report, "tried"),
        json!(9),
        "until there are no more"
    );
    assert_eq!(count(&trace, "compute_vertical"), 9, "each once");
    let log: Vec<_> = trace.log.iter().map(|(_, line)| line.as_str()).collect();
    for (molecule, reason) in [
        (
            "C1CC",
            "BadSmiles: C1CC: obabel makes no molecule of it: Invalid SMILES string: 1 unmatched ring bonds.",
        ),
        ("[XX]", "BadSmiles: [XX]: obabel makes no molecule"),
        ("-h", "BadSmiles: -h: obabel makes no molecule"),
        (
            "[U]",
            "UnknownElement: [U]: GFN2-xTB knows the elements from H to Rn, and not `U`",
        ),
        ("[NH4+]", "Charged: [NH4+]: its charge is 1"),
    ] {
        let start = format!("{molecule} could not be computed: ");
        let line = log.iter().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!("{molecule}: {log:?}"));
        assert!(line.contains(reason), "{line}");
    }
    let odd = "1 rows of the data set repeat a SMILES and are left out";
    assert!(log.contains(&odd), "{log:?}");
}

#[test]
fn a_search_in_which_nothing_succeeds_gives_up() {
    if !programs() {
        return;
    }
    let place = Place::new();
    let few = place.write("few.tsv", "smiles\n[U]\n[XX]\n");
    let many: Vec<_> = (0..40).map(|number| format!("C{number}C")).collect();
    let many = place.write("many.tsv", &format!("smiles\n{}\n", many.join("\n")));
    for (dataset, tried) in [(few, 2), (many, 16)] {
        let (result, trace) =
            place.run(json!({ "dataset": dataset, "initial_count": 20, "search_count": 20 }));
        let error = result.unwrap_err();
        assert_eq!(error.kind(), "NothingComputed", "{error}");
        assert!(
            error
                .to_string()
                .starts_with(&format!("none of {tried} molecules")),
            "{error}"
        );
        assert!(count(&trace, "compute_vertical") >= tried);
    }
}

/// Which molecules are computed does not depend on the order in which results come, also when
/// some fail.
#[test]
fn the_seed_alone_decides_the_random_molecules() {
    if !programs() {
        return;
    }
    let place = Place::new();
    let dataset = place.write(
        "half.tsv",
        "smiles\nO\n[U]\nN\n[Pu]\nF\n[Np]\nS\n[Th]\nC\nCl\n",
    );
    let run = |seed: u64, order| {
        let config = json!({
            "dataset": dataset, "initial_count": 4, "search_count": 4, "seed": seed,
            "output_dir": place.0.path(),
        });
        let local = Local::new().shuffled(order);
        assert!(local.run_app(&APP, &config).unwrap().passed());
        place.smiles()
    };
    let first = run(1, 1);
    assert_eq!(first.len(), 4);
    assert_eq!(run(1, 2), first);
    assert_ne!(run(4, 1), first);
}

#[test]
fn bad_geometries_fail_their_molecules_alone() {
    if !programs() {
        return;
    }
    let place = Place::new();
    let dataset = place.write("set.tsv", "id smiles\na O\nb C\nc N\nd F\n");
    place.write("geometries/a.xyz", "");
    place.write("geometries/x_b.in.xyz", "2\n\nC 0 0 0\nC 0 0 0\n");
    place.write("geometries/other_b.txt", "not a geometry");
    place.write("geometries/x_b.xtbopt.xyz", "of nobody");
    let (report, trace) = place.passing(json!({
        "dataset": dataset, "geometries": place.0.path().join("geometries"),
        "initial_count": 4, "search_count": 4,
    }));
    assert_eq!(*value(&report, "failures"), json!(2));
    let log = format!("{:?}", trace.log);
    assert!(
        log.contains("BadGeometry: O: the first line is `` and not the number"),
        "{log}"
    );
    let refused = "ProgramError: program `xtb`: of C: it refuses: Found *very* short distance";
    assert!(log.contains(refused), "{log}");
}

/// Field and text of a configuration error.
#[track_caller]
fn config_error(place: &Place, config: Value) -> (String, String) {
    match place.run(config) {
        (Err(error @ Error::Config { .. }), trace) => {
            assert!(trace.finished.is_empty(), "before any work");
            let field = error.to_driver_error().field.unwrap();
            (field, error.to_string())
        }
        (other, _) => panic!("{other:?}"),
    }
}

#[test]
fn bad_configurations_are_refused_by_name() {
    let place = Place::new();
    let good = place.write("good.tsv", "id smiles\na O\nb C\n");
    let bad = place.write("bad.tsv", "id smiles\na O\nb\n");
    let both = place.write("both/a.xyz", "");
    place.write("both/x_a.in.xyz", "");
    place.write("none/z.xyz", "");
    let directory = |path: &Path| path.parent().unwrap().to_owned();
    for (config, field, text) in [
        (
            json!({ "search_count": 5 }),
            "search_count",
            "at least initial_count = 8",
        ),
        (json!({ "initial_count": 3 }), "initial_count", "3"),
        (json!({ "batch_size": 0 }), "batch_size", "0"),
        (json!({ "tolerance": -1.0 }), "tolerance", "-1"),
        (
            json!({ "dataset": bad }),
            "dataset",
            "line 3: expected 2 fields",
        ),
        (
            json!({ "dataset": place.0.path().join("missing") }),
            "dataset",
            "a file that can be read",
        ),
        (
            json!({ "dataset": good, "expected": good }),
            "expected",
            "`ip_raw_eV`",
        ),
        (
            json!({ "dataset": good, "geometries": directory(&both) }),
            "geometries",
            "a.xyz and x_a.in.xyz are both of `a`",
        ),
        (
            json!({ "dataset": good, "geometries": place.0.path().join("none") }),
            "geometries",
            "none matches",
        ),
    ] {
        let (found, message) = config_error(&place, config);
        assert_eq!(found, field, "{message}");
        assert!(message.contains(text), "{message}");
    }
    let config = json!({ "dataset": good, "output_dir": place.0.path().join("missing") });
    let error = taps::testing::run_app(&APP, &config).unwrap_err();
    assert!(
        error.to_string().contains("results.csv can be written"),
        "{error}"
    );
}
