//! The tasks of the model.

use taps::testing;

use crate::model::{Molecule, Scored, combine_inferences, run_model, train_model};

fn molecules(smiles: &[&str]) -> Vec<Molecule> {
    let list = smiles.iter().enumerate();
    list.map(|(index, smiles)| Molecule {
        index: index as u32,
        smiles: (*smiles).to_owned(),
    })
    .collect()
}

#[test]
fn the_molecule_most_like_the_best_comes_first() {
    let known = ["CCO", "CCN", "CCC", "CCF", "c1ccccc1", "c1ccccc1C"];
    let known = known.map(str::to_owned).to_vec();
    let scores = vec![-2.0, -2.1, -1.9, -1.8, -8.0, -8.5];
    let model = train_model(known, scores).unwrap();
    let asked = molecules(&["CCCO", "c1ccccc1O", "no molecule", "c1ccccc1"]);
    let scored = run_model(&model, asked).unwrap();
    assert_eq!(scored.unreadable, [2]);
    let all = testing::run(|engine| engine.submit(combine_inferences::call([&scored]))?.result());
    let order: Vec<u32> = all
        .unwrap()
        .scores
        .iter()
        .map(|(index, _)| *index)
        .collect();
    assert_eq!(order, [3, 1, 0]);
    let benzene = scored.scores.iter().find(|(index, _)| *index == 3).unwrap();
    assert_eq!(benzene.1, -8.0, "what is known is answered as it is");
}

#[test]
fn parts_are_put_together_whatever_their_order() {
    let part = |scores: &[(u32, f64)], unreadable: &[u32]| Scored {
        scores: scores.to_vec(),
        unreadable: unreadable.to_vec(),
    };
    let parts = [
        part(&[(4, -1.0), (5, -2.0)], &[9]),
        part(&[(0, -2.0), (1, 3.0)], &[]),
        part(&[], &[7]),
    ];
    let combine = |parts: Vec<Scored>| {
        testing::run(|engine| engine.submit(combine_inferences::call(&parts))?.result()).unwrap()
    };
    let expected = part(&[(0, -2.0), (5, -2.0), (4, -1.0), (1, 3.0)], &[7, 9]);
    assert_eq!(combine(parts.to_vec()), expected);
    assert_eq!(combine(parts.into_iter().rev().collect()), expected);
}

#[test]
fn fewer_readable_molecules_than_neighbours_are_an_error() {
    let smiles = ["CCO", "CCN", "CCC", "no molecule"].map(str::to_owned);
    let error = train_model(smiles.to_vec(), vec![-1.0; 4]).unwrap_err();
    assert_eq!(error.kind(), "ModelError");
    assert!(
        error
            .to_string()
            .contains("3 known molecules for 4 neighbours"),
        "{error}"
    );
}
