//! What is read and written: tables, PDB, PDBQT, Vina's configuration and answer.

use proptest::prelude::*;

use crate::ligands::{Ligand, read};
use crate::vina::{Search, modes, taps_row};
use crate::{pdb, pdbqt, sample};

/// The end of what Vina 1.2.3 prints.
const OUTPUT: &str = "\
Performing docking (random seed: 42) ... \n\
0%   10   20   30   40   50   60   70   80   90   100%\n\
|----|----|----|----|----|----|----|----|----|----|\n\
***************************************************\n\
\n\
mode |   affinity | dist from best mode\n\
\x20    | (kcal/mol) | rmsd l.b.| rmsd u.b.\n\
-----+------------+----------+----------\n\
\x20  1       -6.857          0          0\n\
\x20  2       -6.521      2.747      3.642\n\
\x20  3    1.888e+05      4.154      5.453\n";

fn search() -> Search {
    Search {
        centre: [15.614, 53.380, 15.455],
        size: [20.0, 22.5, 20.0],
        exhaustiveness: 8,
        num_modes: 20,
        energy_range: 10.0,
    }
}

#[test]
fn the_configuration_file_is_that_of_taps() {
    insta::assert_snapshot!(search().config_file());
}

#[test]
fn modes_are_read_from_the_table() {
    assert_eq!(modes(OUTPUT), Ok(vec![-6.857, -6.521, 188_800.0]));
    // Other versions say more below it.
    let more = format!("{OUTPUT}Writing output ... done.\n");
    assert_eq!(modes(&more), modes(OUTPUT));
}

#[test]
fn the_row_of_taps_is_the_third_from_the_end() {
    assert_eq!(taps_row(OUTPUT), Ok(-6.521));
    let (header, _) = OUTPUT.split_once("   2  ").unwrap();
    assert!(
        taps_row(header).is_err(),
        "with one mode it is a line of the frame"
    );
}

#[test]
fn an_answer_that_is_none_is_refused() {
    for (text, reason) in [
        ("", "no table"),
        ("mode | affinity\n-----+----\n", "empty"),
        ("-----+----\n 2 -1 0 0\n", "counted from 1"),
        ("-----+----\n 1 nothing 0 0\n", "no number"),
        ("-----+----\n 1 inf 0 0\n", "not finite"),
        ("-----+----\n 1 -nan 0 0\n", "not finite"),
    ] {
        let error = modes(text).unwrap_err();
        assert!(error.contains(reason), "{text:?}: {error}");
    }
}

#[test]
fn the_box_ends_at_half_its_side() {
    let search = search();
    assert!(search.contains([15.614, 53.380, 15.455]));
    assert!(search.contains([25.6, 64.6, 5.5]));
    assert!(!search.contains([25.7, 53.380, 15.455]));
    assert!(!search.contains([15.614, 64.7, 15.455]));
}

fn ligand(title: &str, key: &str, smiles: &str) -> Ligand {
    Ligand {
        title: title.to_owned(),
        key: key.to_owned(),
        smiles: smiles.to_owned(),
    }
}

#[test]
fn a_table_gives_each_molecule_once() {
    let table = "extra,SMILES,title\n\
        1,CCO,ethanol\n\
        2,c1ccccc1,benzene\n\
        3,CCO,again\n\
        4,CC[O-],ethanol\n\
        5,,nothing\n\
        6,\"CC(=O)O named\",\"acid, acetic/1\"\n\
        7,C,\n";
    assert_eq!(
        read(table.as_bytes(), "t.csv").unwrap(),
        [
            ligand("ethanol", "ethanol", "CCO"),
            ligand("benzene", "benzene", "c1ccccc1"),
            ligand("ethanol", "ethanol-2", "CC[O-]"),
            ligand("acid, acetic/1", "acid__acetic_1", "CC(=O)O"),
            ligand("molecule", "molecule", "C"),
        ]
    );
    let tabs = "\u{feff}TITLE\tSMILES\r\na\tC\r\n";
    assert_eq!(read(tabs.as_bytes(), "t").unwrap(), [ligand("a", "a", "C")]);
}

#[test]
fn a_file_that_is_no_table_is_refused() {
    for (bytes, reason) in [
        (&b""[..], "columns TITLE and SMILES"),
        (b"title;smiles\na;C\n", "columns TITLE and SMILES"),
        (b"TITLE,NAME\na,C\n", "columns TITLE and SMILES"),
        (
            b"TITLE,SMILES\na,C,extra\n",
            "every row as long as the first",
        ),
        (b"TITLE,SMILES\n\xff\xfe,C\n", "a table of text"),
    ] {
        let error = read(bytes, "t.csv").unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("smi_file_name_ligand = t.csv: expected"),
            "{text}"
        );
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn elements_come_from_the_names_where_they_are_missing() {
    let missing = "\
REMARK keep me
ATOM      1  CA  PHE A   1      -3.576  -0.997  -0.137  1.00  0.00
HETATM    2 CL   UNL     1       0.969  -0.074  -0.010  1.00  0.00
HETATM    3 1HB  UNL     1       0.969  -0.074  -0.010  1.00  0.00
HETATM    4 FE   UNL     1       0.969  -0.074  -0.010  1.00  0.00              3+
ATOM      5 HG11 VAL A   1       0.969  -0.074  -0.010  1.00  0.00
HETATM    6 HG    HG A   1       0.969  -0.074  -0.010  1.00  0.00
ATOM      6  OXT PHE A   1      -5.587  -0.413   1.016  1.00  0.00           O1-
END
";
    insta::assert_snapshot!(pdb::set_elements(missing).unwrap());
}

#[test]
fn an_atom_without_a_known_element_is_named() {
    let line = "HETATM    1 7??  UNL     1       0.969  -0.074  -0.010  1.00  0.00";
    assert_eq!(pdb::set_elements(line), Err(line.to_owned()));
}

#[test]
fn a_structure_has_its_atoms_in_different_places() {
    let atom = |x: &str| {
        format!("HETATM    1  C   UNL     1    {x:>8}   0.000   0.000  1.00  0.00           C\n")
    };
    assert!(pdb::has_structure(&atom("1.0")));
    assert!(pdb::has_structure(&(atom("1.0") + &atom("2.0"))));
    assert!(!pdb::has_structure(&(atom("0.0") + &atom("0.0"))));
    assert!(!pdb::has_structure(&atom("nan")));
    assert!(!pdb::has_structure(""));
}

#[test]
fn the_sample_is_what_it_should_be() {
    let search = search();
    let text = sample::receptor(search.centre);
    let found = pdbqt::receptor(&text, |place| search.contains(place)).unwrap();
    assert!(found.atoms > 40, "{found:?}");
    assert_eq!(found.inside, found.atoms);
    let ligands = sample::ligands();
    assert!(ligands.len() >= 8 + 3 * 8, "enough for the defaults");
    assert!(ligands.iter().all(|ligand| ligand.key == ligand.title));
}

const ATOM: &str =
    "ATOM      1  N   SER A 438      10.415  67.633  32.165  1.00 44.83    -0.344 N \n";

#[test]
fn what_is_no_receptor_is_told_by_its_line() {
    for (text, reason) in [
        (String::new(), "it has no atoms"),
        (
            "hello\n".to_owned(),
            "line 1: no record of a receptor: \"hello\"",
        ),
        (
            format!("{ATOM}ROOT\n"),
            "line 2: it has a torsion tree, as ligands have",
        ),
        (
            format!("{}\n", &ATOM[..66]),
            "line 1: no AutoDock atom type",
        ),
        (ATOM.replace("67.633", "6x.633"), "line 1: no coordinates"),
        (ATOM.replace("67.633", "   nan"), "line 1: no coordinates"),
    ] {
        let error = pdbqt::receptor(&text, |_| true).unwrap_err();
        assert!(error.contains(reason), "{text:?}: {error}");
    }
    assert!(pdbqt::receptor(&format!("REMARK x\n{ATOM}\nTER\n"), |_| false).is_ok());
}

#[test]
fn a_ligand_has_atoms_and_one_torsion_tree() {
    let tree = format!("REMARK\nROOT\n{ATOM}ENDROOT\nTORSDOF 0\n");
    assert_eq!(pdbqt::ligand(&tree), Ok(1));
    assert_eq!(pdbqt::ligand(""), Err("it has no atoms".to_owned()));
    let twice = format!("{tree}{tree}");
    assert_eq!(
        pdbqt::ligand(&twice),
        Err("it has 2 lines ROOT, and must have 1".to_owned())
    );
    assert_eq!(
        pdbqt::ligand(ATOM),
        Err("it has 0 lines ROOT, and must have 1".to_owned())
    );
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in "(ATOM  |HETATM|ROOT|-----\\+| 1 -2 0 0|[ -~äö]{0,90}|\n|,|\t){0,12}") {
        let _ = pdb::set_elements(&text);
        let _ = pdb::has_structure(&text);
        let _ = pdbqt::receptor(&text, |_| true);
        let _ = pdbqt::ligand(&text);
        let _ = modes(&text);
        let _ = taps_row(&text);
        let _ = read(text.as_bytes(), "t");
    }

    #[test]
    fn elements_that_are_there_stay(name in "[A-Z0-9 ]{4}", element in "( C|CL|Br| h)") {
        let line = format!("ATOM      1 {name} UNL     1       0.969  -0.074  -0.010  1.00  0.00          {element}\n");
        prop_assert_eq!(pdb::set_elements(&line), Ok(line.clone()));
    }
}
