//! Counts the prime numbers below a limit, a block of numbers per task. Replace it by your own app:
//! a configuration, tasks, and a driver that submits them.

use taps::{Bound, Engine, List, Report, Result};

/// Counts prime numbers, block by block.
#[derive(taps::Config)]
struct Primes {
    /// Numbers below this one are looked at.
    #[taps(default = 100_000, min = 2, max = 1_000_000_000)]
    limit: u64,
    /// Numbers per task.
    #[taps(default = 10_000, min = 1)]
    block: u64,
}

/// Counts the primes from `first` up to and without `end`.
#[taps::task(pure)]
fn count(first: u64, end: u64) -> u64 {
    (first.max(2)..end)
        .filter(|&number| is_prime(number))
        .count() as u64
}

/// Adds up counts.
#[taps::task(pure)]
fn add(counts: List<u64>) -> Result<u64> {
    counts.sum()
}

fn is_prime(number: u64) -> bool {
    (2..=number.isqrt()).all(|divisor| !number.is_multiple_of(divisor))
}

/// The driver: submits tasks, and passes their futures on to others.
#[taps::app]
fn run(config: Primes, engine: &Engine) -> Result<Report> {
    engine.phase("count");
    let mut counts = Vec::new();
    let mut first = 0;
    while first < config.limit {
        let end = config.limit.min(first.saturating_add(config.block));
        counts.push(engine.submit(count::call(first, end))?);
        first = end;
    }
    engine.phase("add");
    let primes = engine.submit(add::call(&counts))?.result()?;
    // 2 is below every limit but 2 itself.
    let least = if config.limit > 2 { 1.0 } else { 0.0 };
    Ok(Report::new()
        .check("primes", primes, Bound::AtLeast(least))
        .value("primes", primes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_a_function() {
        assert_eq!(count(0, 10), 4);
        assert_eq!(count(8, 10), 0);
    }

    #[test]
    fn the_blocks_add_up() {
        for block in [1, 7, 1000] {
            let config = serde_json::json!({ "limit": 1000, "block": block });
            let report = taps::testing::run_app(&APP, &config).expect("runs");
            assert!(report.passed());
            assert_eq!(
                report.values,
                [("primes".to_owned(), serde_json::json!(168))]
            );
        }
    }
}
