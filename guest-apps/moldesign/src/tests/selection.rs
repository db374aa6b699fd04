//! Which molecules are tried, and what the model makes of what is known.

use std::collections::BTreeSet;

use proptest::prelude::*;
use taps::archive;

use crate::candidates::Candidates;
use crate::dataset::Molecule;
use crate::search::chunks;
use crate::tasks::{Chunk, Known, Model, Predictions, combine_inferences, run_model, train_model};

fn molecules(count: usize) -> Vec<Molecule> {
    let molecule = |number: usize| Molecule {
        id: number.to_string(),
        smiles: format!("C{number}"),
    };
    (0..count).map(molecule).collect()
}

fn train(molecules: &[(&str, f64)]) -> Model {
    let known = |(smiles, energy): &(&str, f64)| Known {
        smiles: (*smiles).to_owned(),
        energy: *energy,
    };
    let known: Vec<_> = molecules.iter().map(known).collect();
    train_model(&archive(&known).unwrap()).unwrap()
}

fn ask(model: &Model, first: u32, smiles: &[&str]) -> Predictions {
    let smiles = smiles.iter().map(|smiles| (*smiles).to_owned()).collect();
    run_model(model.clone(), &archive(&Chunk { first, smiles }).unwrap()).unwrap()
}

#[test]
fn the_seed_alone_decides_the_random_order() {
    let sample = |seed| {
        let mut candidates = Candidates::new(100, seed);
        std::iter::from_fn(|| candidates.random()).collect::<Vec<_>>()
    };
    assert_eq!(sample(1), sample(1));
    assert_ne!(sample(1), sample(2));
    let all: BTreeSet<_> = sample(1).into_iter().collect();
    assert_eq!(all, (0..100).collect());
}

#[test]
fn replacements_are_random_and_not_the_first_of_the_sample() {
    let mut candidates = Candidates::new(1000, 7);
    let mut take = |count: usize| {
        let taken: Vec<_> = (0..count).filter_map(|_| candidates.random()).collect();
        taken
    };
    let sample = take(8);
    let replacements = take(8);
    assert!(
        sample
            .iter()
            .all(|molecule| !replacements.contains(molecule))
    );
    assert!(!replacements.is_sorted(), "{replacements:?}");
}

#[test]
fn the_best_that_were_not_tried_are_chosen_and_others_fill_up() {
    let mut candidates = Candidates::new(6, 0);
    let first = candidates.random().unwrap();
    let ranked: Vec<_> = (0..6).rev().collect();
    let wanted: Vec<_> = ranked
        .iter()
        .copied()
        .filter(|m| *m != first)
        .take(2)
        .collect();
    assert_eq!(candidates.best(ranked.clone(), 2), wanted);
    // One of the two left is ranked, the other is not, and 99 does not exist.
    let left: Vec<_> = (0..6)
        .filter(|m| *m != first && !wanted.contains(m))
        .collect();
    let chosen = candidates.best([99, wanted[0], left[2], left[2]], 5);
    assert_eq!(chosen[0], left[2]);
    assert_eq!(chosen.len(), 3);
    assert_eq!(candidates.remaining(), 0);
    assert!(candidates.best(ranked, 1).is_empty());
    assert_eq!(candidates.random(), None);
}

#[test]
fn chunks_are_equal_and_lose_nobody() {
    for (count, parts) in [
        (2264, 64),
        (64, 64),
        (63, 64),
        (65, 64),
        (1, 64),
        (10, 3),
        (10, 1),
    ] {
        let molecules = molecules(count);
        let chunks = chunks(&molecules, parts);
        assert_eq!(chunks.len(), parts.min(count));
        let sizes: Vec<_> = chunks.iter().map(|chunk| chunk.smiles.len()).collect();
        let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        assert!(most - least <= 1 && *least > 0, "{sizes:?}");
        let mut next = 0;
        for chunk in &chunks {
            assert_eq!(chunk.first as usize, next);
            for smiles in &chunk.smiles {
                assert_eq!(*smiles, molecules[next].smiles);
                next += 1;
            }
        }
        assert_eq!(next, count);
    }
}

#[test]
fn the_model_knows_what_it_learned_and_ranks_the_rest() {
    let model = train(&[
        ("CCO", 15.0),
        ("CCCO", 14.8),
        ("c1ccccc1", 13.0),
        ("Cc1ccccc1", 12.8),
        ("N#CC#N", 16.0),
    ]);
    let one = ask(&model, 0, &["CCO", "not a smiles", "CCCCO"]);
    let two = ask(&model, 3, &["CCc1ccccc1", "c1ccccc1"]);
    let numbers: Vec<_> = one.energies.iter().map(|(molecule, _)| *molecule).collect();
    assert_eq!(numbers, [0, 2], "what has no fingerprint is left out");
    assert!((one.energies[0].1 - 15.0).abs() < 1e-12, "known exactly");
    assert!((two.energies[1].1 - 13.0).abs() < 1e-12, "known exactly");
    assert!(
        one.energies[1].1 > two.energies[0].1,
        "an alcohol is more like alcohols"
    );
}

/// All of them, the highest first, through the engine: that is how a task gets a list.
#[test]
fn predictions_are_combined_by_value() {
    let part = |energies: &[(u32, f64)]| Predictions {
        energies: energies.to_vec(),
    };
    let parts = [
        part(&[(0, 12.0), (1, 15.0)]),
        part(&[]),
        part(&[(2, 15.0), (3, 16.0)]),
    ];
    let call = || combine_inferences::call(&parts);
    let all = taps::testing::run(|engine| engine.submit(call())?.result()).unwrap();
    assert_eq!(all, part(&[(3, 16.0), (1, 15.0), (2, 15.0), (0, 12.0)]));
}

#[test]
fn a_model_of_few_or_no_molecules_is_none_the_worse() {
    let model = train(&[("CCO", 15.0)]);
    let some = ask(&model, 5, &["CC", "c1ccccc1"]);
    let numbers: Vec<_> = some
        .energies
        .iter()
        .map(|(molecule, _)| *molecule)
        .collect();
    assert_eq!(numbers, [5, 6]);
    // A mean of one number, up to rounding.
    assert!(
        some.energies
            .iter()
            .all(|(_, energy)| (energy - 15.0).abs() < 1e-12)
    );
    for nothing in [train(&[]), train(&[("[XX]", 15.0)])] {
        assert_eq!(ask(&nothing, 0, &["CC"]), Predictions::default());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// However a search mixes random picks and rounds, no molecule is tried twice, and in the end
    /// every one has been.
    #[test]
    fn nobody_is_tried_twice_and_nobody_is_left(
        count in 1_usize..80,
        seed in any::<u64>(),
        steps in prop::collection::vec((any::<bool>(), 0_usize..9, prop::collection::vec(0_usize..100, 0..30)), 0..30),
    ) {
        let mut candidates = Candidates::new(count, seed);
        let mut tried = BTreeSet::new();
        for (random, wanted, ranked) in steps {
            let before = candidates.remaining();
            let taken = if random {
                candidates.random().into_iter().collect()
            } else {
                candidates.best(ranked, wanted)
            };
            prop_assert_eq!(taken.len(), before.min(if random { 1 } else { wanted }));
            for molecule in taken {
                prop_assert!(molecule < count);
                prop_assert!(tried.insert(molecule), "{} is tried twice", molecule);
            }
            prop_assert_eq!(candidates.remaining(), count - tried.len());
        }
        tried.extend(candidates.best([], count));
        prop_assert_eq!(tried.len(), count);
    }
}
