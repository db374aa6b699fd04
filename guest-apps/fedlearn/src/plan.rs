//! Who learns from what, and when: all of it follows from the seed.

use std::ops::Range;

use crate::random::{Purpose, Random};

/// The samples of each client, as ranges of the shuffled samples: a Dirichlet variate says how large
/// each part is, and each client has at least one sample.
///
/// # Panics
/// If there are more clients than samples, or none.
pub(crate) fn shards(seed: u64, alpha: f64, samples: usize, clients: usize) -> Vec<Range<usize>> {
    assert!((1..=samples).contains(&clients), "clients and samples");
    let weights = dirichlet(seed, alpha, clients);
    // What remains when each has one, by the largest remainder.
    let spare = samples - clients;
    let exact: Vec<f64> = weights.iter().map(|weight| weight * spare as f64).collect();
    let mut sizes: Vec<usize> = exact.iter().map(|exact| 1 + *exact as usize).collect();
    let mut order: Vec<usize> = (0..clients).collect();
    let remainder = |client: usize| exact[client] - (exact[client] as usize) as f64;
    order.sort_by(|a, b| remainder(*b).total_cmp(&remainder(*a)).then(a.cmp(b)));
    // Rounding may leave one more or less than the clients can share in one go.
    let mut turn = order.iter().copied().cycle();
    while sizes.iter().sum::<usize>() < samples {
        if let Some(client) = turn.next() {
            sizes[client] += 1;
        }
    }
    while sizes.iter().sum::<usize>() > samples {
        if let Some(client) = turn.next().filter(|client| sizes[*client] > 1) {
            sizes[client] -= 1;
        }
    }
    let mut start = 0;
    let range = |size: usize| {
        start += size;
        start - size..start
    };
    sizes.into_iter().map(range).collect()
}

/// A variate of the symmetric Dirichlet distribution: shares that add up to 1.
fn dirichlet(seed: u64, alpha: f64, count: usize) -> Vec<f64> {
    let mut random = Random::new(seed, Purpose::Shares, 0);
    let logs: Vec<f64> = (0..count).map(|_| random.log_gamma(alpha)).collect();
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shares: Vec<f64> = logs.iter().map(|log| libm::exp(log - largest)).collect();
    let sum: f64 = shares.iter().sum();
    shares.into_iter().map(|share| share / sum).collect()
}

/// Clients in a round: at least one.
pub(crate) fn participants(clients: usize, participation: f64) -> usize {
    // A share such as 0.29 of 100 is 28.999999999999996 in binary.
    let share = (clients as f64 * participation * (1.0 + 4.0 * f64::EPSILON)) as usize;
    share.clamp(1, clients)
}

/// The clients that take part in a round, in increasing order.
pub(crate) fn chosen(seed: u64, round: u32, clients: usize, count: usize) -> Vec<usize> {
    if count >= clients {
        return (0..clients).collect();
    }
    let order = Random::new(seed, Purpose::Participants, round.into()).permutation(clients);
    let mut chosen: Vec<usize> = order[..count]
        .iter()
        .map(|client| *client as usize)
        .collect();
    chosen.sort_unstable();
    chosen
}

/// The order in which samples are dealt to the clients.
pub(crate) fn shuffled(seed: u64, samples: usize) -> Vec<u32> {
    Random::new(seed, Purpose::Shuffle, 0).permutation(samples)
}
