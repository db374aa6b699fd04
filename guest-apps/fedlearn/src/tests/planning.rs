//! Who learns from what.

use proptest::prelude::*;

use crate::plan::{chosen, participants, shards, shuffled};
use crate::random::{Purpose, Random};

proptest! {
    #[test]
    fn shards_are_all_samples_and_none_is_empty(
        seed: u64,
        exponent in -6.0..6.0_f64,
        clients in 1_usize..60,
        more in 0_usize..2000,
    ) {
        let samples = clients + more;
        let ranges = shards(seed, 10.0_f64.powf(exponent), samples, clients);
        prop_assert_eq!(ranges.len(), clients);
        let mut end = 0;
        for range in ranges {
            prop_assert_eq!(range.start, end);
            prop_assert!(range.end > range.start);
            end = range.end;
        }
        prop_assert_eq!(end, samples);
    }
}

/// Spread of the sizes of 20 shards, over their mean.
fn spread(alpha: f64) -> f64 {
    let sizes: Vec<f64> = shards(3, alpha, 20_000, 20)
        .into_iter()
        .map(|range| range.len() as f64)
        .collect();
    let variance = sizes
        .iter()
        .map(|size| (size - 1000.0).powi(2))
        .sum::<f64>()
        / 20.0;
    variance.sqrt() / 1000.0
}

/// The standard deviation of a share of k clients is √((k−1)/(kα+1)) of its mean.
#[test]
fn alpha_is_the_evenness_of_the_shards() {
    for alpha in [100_000.0, 100.0, 1.0] {
        let expected = (19.0 / (20.0 * alpha + 1.0_f64)).sqrt();
        let ratio = spread(alpha) / expected;
        assert!((0.5..2.0).contains(&ratio), "alpha {alpha}: {ratio}");
    }
    assert!(spread(0.01) > 3.0, "{}", spread(0.01));
}

#[test]
fn participation_is_a_share_of_the_clients_and_at_least_one() {
    assert_eq!(participants(8, 1.0), 8);
    assert_eq!(participants(8, 0.5), 4);
    assert_eq!(participants(100, 0.29), 29);
    assert_eq!(participants(8, 0.01), 1);
    assert_eq!(participants(3, 0.99), 2);
}

#[test]
fn rounds_choose_anew_without_repetition() {
    let rounds: Vec<Vec<usize>> = (0..200).map(|round| chosen(1, round, 10, 4)).collect();
    for round in &rounds {
        assert_eq!(round.len(), 4);
        assert!(
            round.windows(2).all(|pair| pair[0] < pair[1]) && round[3] < 10,
            "{round:?}"
        );
    }
    for client in 0..10 {
        let times = rounds
            .iter()
            .filter(|round| round.contains(&client))
            .count();
        assert!(
            (50..110).contains(&times),
            "client {client}: {times} of 200"
        );
    }
    assert_eq!(chosen(1, 7, 10, 4), rounds[7]);
    assert_eq!(chosen(1, 7, 10, 10), (0..10).collect::<Vec<_>>());
}

#[test]
fn shuffling_is_a_permutation_that_follows_from_the_seed() {
    let order = shuffled(4, 1000);
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
    assert_ne!(sorted, order);
    assert_eq!(shuffled(4, 1000), order);
    assert_ne!(shuffled(5, 1000), order);
}

/// Mean and variance of a gamma variate are its shape.
#[test]
fn gamma_variates_have_their_moments() {
    for shape in [0.3, 1.0, 7.5] {
        let mut random = Random::new(8, Purpose::Shares, 0);
        let values: Vec<f64> = (0..20_000).map(|_| random.log_gamma(shape).exp()).collect();
        let mean = values.iter().sum::<f64>() / 20_000.0;
        let variance = values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>()
            / 20_000.0;
        assert!((mean / shape - 1.0).abs() < 0.05, "{shape}: {mean}");
        assert!((variance / shape - 1.0).abs() < 0.1, "{shape}: {variance}");
    }
}
