//! What holds of fingerprints and models, whatever the molecules.

#![expect(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test fails by panicking, and its values are exact"
)]

use proptest::prelude::*;
use taps_molecules::{
    Fingerprint, LengthMismatch, Morgan, MorganError, Neighbours, NeighboursError,
};

fn fingerprint(bits: u32, ones: &[u32]) -> Fingerprint {
    let mut fingerprint = Fingerprint::new(bits);
    for bit in ones {
        fingerprint.fold(*bit);
    }
    fingerprint
}

#[test]
fn a_text_that_is_no_molecule_is_refused_with_its_reason() {
    let morgan = Morgan::default();
    for smiles in [
        "",
        " ",
        "CC(C",
        "C1CC",
        "CXz",
        "c1cccc1",
        "C(C)(C)(C)(C)C",
        "\u{1f9ea}",
        "C C",
        "{}",
    ] {
        let error = morgan.fingerprint(smiles).unwrap_err();
        assert_eq!(error.smiles, smiles);
        let text = error.to_string();
        assert!(text.contains("is no SMILES of a molecule: "), "{text}");
        assert!(!error.reason.is_empty(), "{text}");
    }
}

#[test]
fn an_error_shows_the_beginning_of_a_long_text() {
    let error = Morgan::default()
        .fingerprint(&"(".repeat(100_000))
        .unwrap_err();
    assert!(error.to_string().len() < 500, "{error}");
}

#[test]
fn lengths_and_radii_out_of_range_are_refused() {
    assert_eq!(Morgan::new(0, 4), Err(MorganError::Bits(0)));
    assert_eq!(Morgan::new(65_537, 4), Err(MorganError::Bits(65_537)));
    assert_eq!(Morgan::new(256, 33), Err(MorganError::Radius(33)));
    assert_eq!(
        Morgan::new(256, 33).unwrap_err().to_string(),
        "fingerprint of radius 33: at most 32 bonds are possible"
    );
    assert!(Morgan::new(65_536, 32).is_ok());
}

#[test]
fn the_same_molecule_written_in_two_ways_has_one_fingerprint() {
    let morgan = Morgan::default();
    for (one, other) in [
        ("C1=CC=CC=C1O", "Oc1ccccc1"),
        ("OCC", "C(O)C"),
        ("[H]OC([H])([H])C", "CCO"),
        ("CC(=O)[O-].[Na+]", "[Na+].[O-]C(C)=O"),
    ] {
        assert_eq!(morgan.fingerprint(one), morgan.fingerprint(other));
    }
}

#[test]
fn a_larger_radius_adds_bits_and_takes_none_away() {
    let smiles = "CC(=O)Oc1ccccc1C(=O)O";
    let at = |radius| {
        Morgan::new(4096, radius)
            .unwrap()
            .fingerprint(smiles)
            .unwrap()
    };
    for radius in 0..8 {
        let (smaller, larger) = (at(radius), at(radius + 1));
        assert!((0..4096).all(|bit| !smaller.contains(bit) || larger.contains(bit)));
    }
    // The molecule is covered whole by then.
    assert_eq!(at(8), at(32));
}

#[test]
fn models_refuse_what_they_cannot_learn_from() {
    let known = || vec![fingerprint(8, &[1]), fingerprint(8, &[2])];
    let fit = |values: Vec<f64>, neighbours| Neighbours::fit(known(), values, neighbours);
    assert!(matches!(
        fit(vec![1.0], 1),
        Err(NeighboursError::Lengths {
            fingerprints: 2,
            values: 1
        })
    ));
    assert!(matches!(
        fit(vec![1.0, 2.0], 3),
        Err(NeighboursError::TooFew {
            known: 2,
            neighbours: 3
        })
    ));
    assert!(matches!(
        fit(vec![1.0, 2.0], 0),
        Err(NeighboursError::TooFew { .. })
    ));
    assert!(matches!(
        fit(vec![1.0, f64::NAN], 1),
        Err(NeighboursError::NotFinite { index: 1, .. })
    ));
    let mixed = vec![fingerprint(8, &[1]), fingerprint(16, &[1])];
    let expected = LengthMismatch { left: 8, right: 16 };
    assert_eq!(
        Neighbours::fit(mixed, vec![1.0, 2.0], 1),
        Err(expected.clone().into())
    );
    let model = fit(vec![1.0, 2.0], 2).unwrap();
    assert_eq!(
        model.predict(&fingerprint(16, &[1])),
        Err(LengthMismatch { left: 16, right: 8 }.into())
    );
}

#[test]
fn of_equally_far_molecules_the_first_are_asked() {
    let known: Vec<_> = (0..6).map(|bit| fingerprint(8, &[bit])).collect();
    let values = (0..6).map(f64::from).collect();
    let model = Neighbours::fit(known, values, 2).unwrap();
    let stranger = fingerprint(8, &[7]);
    assert_eq!(model.nearest(&stranger).unwrap(), [(1.0, 0), (1.0, 1)]);
    assert_eq!(model.predict(&stranger).unwrap(), 0.5);
}

#[test]
fn two_empty_sets_are_alike() {
    let empty = Fingerprint::new(8);
    assert_eq!(empty.tanimoto(&empty), Ok(1.0));
    assert_eq!(empty.distance(&empty), Ok(0.0));
}

const BITS: u32 = 100;

fn fingerprints() -> impl Strategy<Value = Fingerprint> {
    prop::collection::vec(0..1000_u32, 0..30).prop_map(|ones| fingerprint(BITS, &ones))
}

/// Text that looks like SMILES, and often is.
fn smiles() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "C", "c", "N", "n", "O", "o", "S", "F", "Cl", "[nH]", "[N+]", "[O-]", "[13C]", "[H]", "(",
        ")", "=", "#", "1", "2", "%10", ".", "/", "\\", "[C@H]", "[C@@]", "-", ":", "*", "[Fe]",
        "B", "P", "[Si]", "$", "~", "]",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,40}", radius in 0..6_u32) {
        let _ = Morgan::new(64, radius).unwrap().fingerprint(&text);
    }

    #[test]
    fn a_fingerprint_up_to_radius_three_is_that_of_chematic(smiles in smiles(), radius in 0..4_usize) {
        use chematic_fp::{RdkitMorganConfig, RdkitMorganFpSize, RdkitMorganRadius as Radius};
        let ours = Morgan::new(512, radius as u32).unwrap().fingerprint(&smiles);
        if let Ok(ours) = ours {
            let config = RdkitMorganConfig {
                radius: [Radius::R0, Radius::R1, Radius::R2, Radius::R3][radius],
                fp_size: RdkitMorganFpSize::B512,
                include_chirality: false,
            };
            let molecule = chematic_smiles::parse(&smiles).unwrap();
            let theirs = chematic_fp::rdkit_morgan_fingerprint(&molecule, &config).unwrap();
            for bit in 0..512 {
                prop_assert_eq!(ours.contains(bit), theirs.fingerprint.get(bit as usize), "bit {}", bit);
            }
        }
    }

    #[test]
    fn tanimoto_and_distance_are_what_their_definition_says(one in fingerprints(), two in fingerprints()) {
        let count = |wanted: fn(bool, bool) -> bool| {
            (0..BITS).filter(|bit| wanted(one.contains(*bit), two.contains(*bit))).count() as f64
        };
        let (both, either) = (count(|a, b| a && b), count(|a, b| a || b));
        let similarity = one.tanimoto(&two).unwrap();
        if either > 0.0 {
            prop_assert_eq!(similarity, both / either);
        }
        let distance = one.distance(&two).unwrap();
        prop_assert!((similarity + distance - 1.0).abs() < 1e-12);
        prop_assert_eq!(distance, two.distance(&one).unwrap());
        prop_assert_eq!(one.distance(&one).unwrap(), 0.0);
        prop_assert!((0.0..=1.0).contains(&distance));
        prop_assert_eq!(distance == 0.0, one == two);
    }

    #[test]
    fn the_nearest_are_those_that_sorting_gives(
        known in prop::collection::vec(fingerprints(), 5..20),
        stranger in fingerprints(),
        neighbours in 1..6_usize,
    ) {
        let values: Vec<f64> = (0..known.len()).map(|index| index as f64).collect();
        let model = Neighbours::fit(known.clone(), values, neighbours).unwrap();
        let mut all: Vec<_> = known
            .iter()
            .enumerate()
            .map(|(index, other)| (stranger.distance(other).unwrap(), index))
            .collect();
        all.sort_by(|one, other| one.partial_cmp(other).unwrap());
        all.truncate(neighbours);
        prop_assert_eq!(model.nearest(&stranger).unwrap(), all);
    }

    #[test]
    fn a_prediction_lies_between_the_values_and_knows_what_it_learned(
        known in prop::collection::vec(fingerprints(), 4..20),
        stranger in fingerprints(),
    ) {
        let values: Vec<f64> = (0..known.len()).map(|index| -(index as f64)).collect();
        let model = Neighbours::fit(known.clone(), values, 4).unwrap();
        let value = model.predict(&stranger).unwrap();
        prop_assert!(value <= 1e-12 && value >= -(known.len() as f64 - 1.0) - 1e-12);
        if known.iter().filter(|other| **other == known[0]).count() == 1 {
            prop_assert_eq!(model.predict(&known[0]).unwrap(), 0.0);
        }
    }

    #[test]
    fn hexadecimal_digits_say_every_bit(one in fingerprints()) {
        let hex = one.to_hex();
        prop_assert_eq!(hex.len(), 26);
        for bit in 0..BITS {
            let byte = u8::from_str_radix(&hex[bit as usize / 8 * 2..][..2], 16).unwrap();
            prop_assert_eq!(byte >> (bit % 8) & 1 == 1, one.contains(bit));
        }
        prop_assert_eq!((0..BITS).filter(|bit| one.contains(*bit)).count() as u32, one.ones());
    }
}
