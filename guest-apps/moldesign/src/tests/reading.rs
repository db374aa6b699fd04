//! Files and program outputs, good and bad.

use proptest::prelude::*;

use crate::dataset::{Dataset, Molecule};
use crate::expected::{Comparison, Expected};
use crate::geometry::{GeometryError, atoms};
use crate::table::TableError;
use crate::xtb::{Outcome, net_charge, read};

fn smiles(dataset: &Dataset) -> Vec<&str> {
    let molecules = dataset.molecules.iter();
    molecules.map(|molecule| molecule.smiles.as_str()).collect()
}

#[track_caller]
fn refused(bytes: &[u8], line: Option<usize>, text: &str) {
    let error = Dataset::parse(bytes).unwrap_err();
    assert_eq!(error.line, line, "{error:?}");
    assert!(error.expected.contains(text), "{error:?}");
}

#[test]
fn a_data_set_is_read_by_the_names_of_its_columns() {
    for (text, ids) in [
        ("id smiles\n7 CC\n8 C=C\n", ["7", "8"]),
        ("smiles\tid\textra\nCC\t7\tx\n\nC=C\t8\ty\n", ["7", "8"]),
        ("\u{feff}  SMILES \r\n CC \r\n\r\n  C=C", ["0", "1"]),
    ] {
        let dataset = Dataset::parse(text.as_bytes()).unwrap();
        assert_eq!(smiles(&dataset), ["CC", "C=C"], "{text:?}");
        assert_eq!(dataset.molecules[0].id, ids[0], "{text:?}");
        assert_eq!(dataset.molecules[1].id, ids[1], "{text:?}");
    }
}

#[test]
fn a_molecule_that_comes_again_is_left_out_and_counted() {
    let dataset = Dataset::parse(b"id smiles\na CC\nb C\nc CC\nd CC\n").unwrap();
    assert_eq!(smiles(&dataset), ["CC", "C"]);
    assert_eq!(dataset.duplicates, 2);
    assert_eq!(dataset.molecules[0].id, "a");
}

#[test]
fn a_bad_data_set_is_refused_with_its_line() {
    refused(b"", None, "a header; it is empty");
    refused(b"\n  \n", None, "a header; it is empty");
    refused(
        b"id,smiles\n0,CC\n",
        None,
        "one of them `smiles`; there are: id,smiles",
    );
    refused(b"id smiles\n", None, "1 to 10000000 molecules; it has 0");
    refused(b"id smiles\n0 CC\n\n1\n", Some(4), "2 fields");
    refused(b"id smiles\n0 CC ethane\n", Some(2), "it has 3");
    refused(b"smiles\nC\n\xff\n", Some(3), "UTF-8");
    refused("smiles\nC\nC≡C\n".as_bytes(), Some(3), "ASCII");
    refused(b"smiles\nC\x1b[2J\n", Some(2), "ASCII");
    let long = format!("smiles\n{}\n", "C".repeat(2_001));
    refused(
        long.as_bytes(),
        Some(2),
        "at most 2000 characters; it has 2001",
    );
}

#[test]
fn an_error_of_a_table_names_file_and_line() {
    let error = TableError::at(3, "a number").of("expected", "/in/golden.tsv");
    assert_eq!(
        error.to_string(),
        "expected = /in/golden.tsv, line 3: expected a number"
    );
}

#[test]
fn expected_energies_are_read_and_compared() {
    let text = b"id smiles atoms ip_raw_eV\n0 C 5 16.9\n1 CC 8 15.1\n";
    let expected = Expected::parse(text).unwrap();
    let mut comparison = Comparison::default();
    comparison.add(&expected, "CCC", 100.0, 0.05);
    assert_eq!(
        comparison,
        Comparison::default(),
        "nothing was expected of it"
    );
    comparison.add(&expected, "CC", 15.1, 0.05);
    comparison.add(&expected, "C", 16.8, 0.05);
    assert_eq!(comparison.compared, 2);
    assert!((comparison.largest - 0.1).abs() < 1e-9);
    assert_eq!(comparison.worst.as_deref(), Some("C"));
    assert!((comparison.share() - 0.5).abs() < 1e-9);
    comparison.add(&expected, "CC", f64::NAN, 0.05);
    assert_eq!(comparison.within, 1);
    assert!(comparison.largest.is_nan(), "NaN is no agreement");

    let error = Expected::parse(b"smiles ip_raw_eV\nC 1\nCC inf\n").unwrap_err();
    assert_eq!(error.line, Some(3));
    let error = Expected::parse(b"smiles ip\nC 1\n").unwrap_err();
    assert!(error.expected.contains("`ip_raw_eV`"), "{error:?}");
}

const WATER: &str = "3\nwater\nO 0.0 0.0 0.1\nH 0.0 0.76 -0.48\n  h 0 -.76 -4.8e-1 extra\n";

#[test]
fn geometries_are_checked_before_xtb_sees_them() {
    assert_eq!(atoms(WATER), Ok(3));
    assert_eq!(atoms(&WATER.replace('\n', "\r\n")), Ok(3));
    for (text, reason) in [
        ("", "not the number of atoms"),
        ("three\n\nO 0 0 0\n", "`three`"),
        ("0\n\n", "0 atoms"),
        ("1001\n\n", "1001 atoms"),
        ("2\n\nO 0 0 0\n", "announces 2 atoms and has 1"),
        ("1\n\nO 0 0 0\nH 0 0 1\n", "announces 1 atoms and has 2"),
        ("1\n\nO 0 0\n", "`O 0 0`"),
        ("1\n\nO 0 nan 0\n", "`O 0 nan 0`"),
        ("1\n\n8 0 0 0\n", "`8 0 0 0`"),
    ] {
        match atoms(text) {
            Err(GeometryError::Malformed(found)) => assert!(found.contains(reason), "{found}"),
            other => panic!("{text:?}: {other:?}"),
        }
    }
    for symbol in ["U", "Np", "Xx", "Fr"] {
        let text = format!("2\n\nH 0 0 0\n{symbol} 0 0 2\n");
        assert_eq!(atoms(&text), Err(GeometryError::Element(symbol.to_owned())));
    }
    assert_eq!(atoms("1\n\nRn 0 0 0\n"), Ok(1));
}

/// Lines as xtb 6.5.1 prints them.
#[test]
fn outputs_of_xtb_are_understood() {
    let energy = "          | TOTAL ENERGY              -27.849879981931 Eh   |\n";
    let later = "          | TOTAL ENERGY               -1.743126632946 Eh   |\n";
    assert_eq!(read(energy), Outcome::Energy(-27.849_879_981_931));
    assert_eq!(
        read(&format!("{energy}\n{later}")),
        Outcome::Energy(-1.743_126_632_946),
        "the last one counts"
    );
    for (line, text) in [
        (
            "   *** convergence criteria cannot be satisfied within 250 iterations ***",
            "convergence criteria cannot be satisfied within 250 iterations",
        ),
        (
            "   *** FAILED TO CONVERGE GEOMETRY OPTIMIZATION IN 200 ITERATIONS ***",
            "FAILED TO CONVERGE GEOMETRY OPTIMIZATION IN 200 ITERATIONS",
        ),
        (
            "-1- scf: Self consistent charge iterator did not converge",
            "-1- scf: Self consistent charge iterator did not converge",
        ),
    ] {
        // An energy is printed nonetheless.
        for output in [format!("{line}\n{energy}"), format!("{energy}{line}\n")] {
            assert_eq!(read(&output), Outcome::NotConverged(text.to_owned()));
        }
    }
    for line in [
        " no basis found for atom           1  Z=           93",
        "  | ^^ unknown element",
    ] {
        assert!(matches!(read(line), Outcome::UnknownElement(_)), "{line}");
    }
    let stopped = "[ERROR] Program stopped due to fatal error\n\
        -3- Some atoms in the start geometry are *very* close\n\
        -1- Found *very* short distance of  0.000E+00 for O1-O2\n";
    let cause = "Found *very* short distance of  0.000E+00 for O1-O2";
    assert_eq!(read(stopped), Outcome::Refused(cause.to_owned()));
    for nothing in [
        "",
        "normal termination",
        "   *** convergence criteria satisfied after 14 iterations ***",
        "| TOTAL ENERGY  NaN Eh |",
        "| TOTAL ENERGY  ******** Eh |",
        "| TOTAL ENERGY",
        "| TOTAL ENERGY -1.0 eV |",
    ] {
        assert_eq!(read(nothing), Outcome::None, "{nothing}");
    }
}

#[test]
fn the_charge_of_a_smiles_is_the_sum_of_its_atoms() {
    for (smiles, charge) in [
        ("CCO", 0),
        ("[NH4+]", 1),
        ("C[N+](=O)[O-]", 0),
        ("[Na+].[Cl-]", 0),
        ("[Ca+2].[Cl-]", 1),
        ("[Ca++]", 2),
        ("[O-2]", -2),
        ("[O--]", -2),
        ("[13CH3-:7]", -1),
        ("[CH3:12]-C", 0),
        ("c1ccc[n-]1", -1),
        ("[", 0),
        ("]+[", 0),
    ] {
        assert_eq!(net_charge(smiles), charge, "{smiles}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// What is written as a table is read back, in order and each once.
    #[test]
    fn any_table_is_read_back(all in prop::collection::vec("[!-~]{1,12}", 1..40)) {
        let lines = all.iter().enumerate();
        let lines: Vec<_> = lines.map(|(row, smiles)| format!("m{row} {smiles}")).collect();
        let text = format!("id smiles\n{}", lines.join("\n"));
        let dataset = Dataset::parse(text.as_bytes()).unwrap();
        let mut distinct: Vec<(usize, &String)> = Vec::new();
        for (row, smiles) in all.iter().enumerate() {
            if distinct.iter().all(|(_, seen)| *seen != smiles) {
                distinct.push((row, smiles));
            }
        }
        prop_assert_eq!(dataset.duplicates, all.len() - distinct.len());
        let wanted: Vec<_> = distinct
            .into_iter()
            .map(|(row, smiles)| Molecule { id: format!("m{row}"), smiles: smiles.clone() })
            .collect();
        prop_assert_eq!(dataset.molecules, wanted);
    }

    /// No bytes make a reader panic.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Dataset::parse(&bytes);
        let _ = Expected::parse(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        let _ = atoms(&text);
        let _ = read(&text);
        let _ = net_charge(&text);
    }
}
