//! Fingerprints and models against what RDKit and scikit-learn give. The golden files are made by
//! `golden/generate.py`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use taps_molecules::{Fingerprint, Morgan, Neighbours};

const KNOWN: &str = include_str!("../golden/known.tsv");
const LIGANDS: &str = include_str!("../golden/ligands.tsv");
const QM9: &str = include_str!("../golden/qm9.tsv");
const NEIGHBOURS: &str = include_str!("../golden/neighbours.json");

/// Rows of a golden file.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split('\t').collect())
}

/// A fingerprint in the FPS format, or `-` for a SMILES that is refused.
fn text(smiles: &str, bits: u32, radius: u32) -> String {
    match Morgan::new(bits, radius).unwrap().fingerprint(smiles) {
        Ok(fingerprint) => fingerprint.to_hex(),
        Err(_) => "-".to_owned(),
    }
}

fn digest(smiles: &str, bits: u32, radius: u32) -> String {
    let text = text(smiles, bits, radius);
    if text == "-" {
        return text;
    }
    hex::encode(&Sha256::digest(text.as_bytes())[..8])
}

/// A file of the data folder, where there is one.
fn data(path: &str) -> Option<String> {
    let folder = PathBuf::from(std::env::var_os("TAPS_WASM_DATA")?);
    Some(std::fs::read_to_string(folder.join(path)).unwrap())
}

/// Rows of a table without quoted fields: key and SMILES.
fn table(text: &str, separator: char) -> Vec<(&str, &str)> {
    let lines = text.lines().skip(1).filter(|line| !line.is_empty());
    let rows = lines.map(|line| line.split_once(separator).unwrap());
    rows.collect()
}

/// Keys of the rows whose fingerprints are not those of the golden file.
fn wrong<'a>(
    golden: &'a str,
    table: &[(&str, &str)],
    fingerprints: impl Fn(&str) -> [String; 2],
) -> Vec<&'a str> {
    let golden: Vec<_> = rows(golden).collect();
    assert_eq!(golden.len(), table.len());
    let pairs = golden.into_iter().zip(table);
    pairs
        .filter(|(golden, (key, smiles))| golden[0] != *key || fingerprints(smiles) != golden[1..])
        .map(|(golden, _)| golden[0])
        .collect()
}

#[test]
fn known_molecules_have_the_fingerprints_of_rdkit() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for row in rows(KNOWN) {
        let [name, smiles, fingerprint, digested] = row[..] else {
            panic!("{row:?}");
        };
        count += 1;
        if text(smiles, 256, 4) != fingerprint || digest(smiles, 2048, 2) != digested {
            wrong.push(name);
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert!(count > 70, "{count} molecules");
}

#[test]
fn all_ligands_of_the_data_have_the_fingerprints_of_rdkit() {
    let Some(file) = data("docking/ligands.csv") else {
        eprintln!("TAPS_WASM_DATA is not set: nothing compared");
        return;
    };
    let both = |smiles: &str| [text(smiles, 256, 4), digest(smiles, 2048, 2)];
    assert_eq!(wrong(LIGANDS, &table(&file, ','), both), [""; 0]);
}

#[test]
fn all_molecules_of_the_search_space_have_the_fingerprints_of_rdkit() {
    let Some(file) = data("moldesign/QM9-search.tsv") else {
        eprintln!("TAPS_WASM_DATA is not set: nothing compared");
        return;
    };
    let both = |smiles: &str| [digest(smiles, 256, 4), digest(smiles, 1024, 3)];
    assert_eq!(wrong(QM9, &table(&file, '\t'), both), [""; 0]);
}

#[derive(Debug)]
struct Model {
    neighbours: usize,
    predictions: Vec<(String, f64)>,
}

fn pairs(value: &serde_json::Value) -> Vec<(String, f64)> {
    let list = value.as_array().unwrap().iter();
    list.map(|pair| {
        (
            pair[0].as_str().unwrap().to_owned(),
            pair[1].as_f64().unwrap(),
        )
    })
    .collect()
}

#[test]
fn predictions_are_those_of_scikit_learn() {
    let golden: serde_json::Value = serde_json::from_str(NEIGHBOURS).unwrap();
    let molecules: HashMap<&str, &str> = rows(KNOWN).map(|row| (row[0], row[1])).collect();
    let fingerprint =
        |name: &str| -> Fingerprint { Morgan::default().fingerprint(molecules[name]).unwrap() };
    let learned = pairs(&golden["learned"]);
    let fingerprints: Vec<_> = learned.iter().map(|(name, _)| fingerprint(name)).collect();
    let values: Vec<_> = learned.iter().map(|(_, value)| *value).collect();
    let models = golden["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| Model {
            neighbours: model["neighbours"].as_u64().unwrap() as usize,
            predictions: pairs(&model["predictions"]),
        });
    let mut compared = 0;
    for golden in models {
        let model =
            Neighbours::fit(fingerprints.clone(), values.clone(), golden.neighbours).unwrap();
        for (name, value) in &golden.predictions {
            let ours = model.predict(&fingerprint(name)).unwrap();
            assert!(
                (ours - value).abs() < 1e-9,
                "{name} by {}: {ours} for {value}",
                golden.neighbours
            );
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared} predictions");
}
