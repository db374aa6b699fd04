//! Where sandboxes come from, and what they keep.

use crate::{
    bench::{Bench, Setup, assert_outcome, number},
    guest::Guest,
};
use taps_engine::{Instantiation, OutcomeKind};
use taps_sandbox::{InstancePolicy, InstanceStatistics};

const TASKS: &[(&str, &str)] = &[
    (
        "counts",
        "(global.set $counter (i32.add (global.get $counter) (i32.const 1)))
         (i32.store (i32.const 0x40000) (i32.add (i32.load (i32.const 0x40000)) (i32.const 1)))
         (call $number (i64.extend_i32_u (i32.add (global.get $counter) (i32.shl (i32.load (i32.const 0x40000)) (i32.const 8)))))",
    ),
    ("traps", "unreachable"),
    ("errs", "(call $error (i32.const 525) (i32.const 8))"),
    ("random", "(call $number (call $random))"),
    (
        "seeded",
        "(call $insecure (i32.const 64)) (call $number (i64.xor (i64.load (i32.const 64)) (i64.load (i32.const 72))))",
    ),
    ("seed", "(call $number (call $seed))"),
];

fn bench(policy: InstancePolicy) -> Bench {
    Bench::with(&Guest::new(TASKS), Setup::policy(policy))
}

/// The count in a global and in memory.
const fn counted(times: i64) -> i64 {
    times | times << 8
}

#[test]
fn a_fresh_sandbox_knows_nothing_of_earlier_tasks() {
    let mut bench = bench(InstancePolicy::Fresh);
    for _ in 0..10 {
        let report = bench.call("counts", &[]);
        assert_eq!(number(&report), counted(1));
        assert_eq!(report.instantiation, Instantiation::Fresh);
        bench.worker.prewarm();
    }
    let expected = InstanceStatistics {
        fresh: 10,
        ..InstanceStatistics::default()
    };
    assert_eq!(bench.runtime.statistics(), expected);
}

#[test]
fn a_prewarmed_sandbox_is_used_once() {
    let mut bench = bench(InstancePolicy::Prewarmed);
    for _ in 0..10 {
        bench.worker.prewarm();
        bench.worker.prewarm();
        let report = bench.call("counts", &[]);
        assert_eq!(number(&report), counted(1));
        assert_eq!(report.instantiation, Instantiation::Prewarmed);
    }
    // None was made in time.
    let report = bench.call("counts", &[]);
    assert_eq!(
        (number(&report), report.instantiation),
        (counted(1), Instantiation::Fresh)
    );
    let expected = InstanceStatistics {
        fresh: 1,
        prewarmed: 10,
        ..InstanceStatistics::default()
    };
    assert_eq!(bench.runtime.statistics(), expected);
}

#[test]
fn a_reused_sandbox_keeps_what_tasks_leave_until_one_fails() {
    let mut bench = bench(InstancePolicy::Reuse);
    for times in 1..=5 {
        let report = bench.call("counts", &[]);
        assert_eq!(number(&report), counted(times));
        let fresh = if times == 1 {
            Instantiation::Fresh
        } else {
            Instantiation::Reused
        };
        assert_eq!(report.instantiation, fresh);
    }
    assert!(matches!(
        bench.failure("traps", &[]).outcome,
        OutcomeKind::Trap(_)
    ));
    assert_eq!(
        bench.number("counts", &[]),
        counted(1),
        "dropped after the trap"
    );
    let expected = InstanceStatistics {
        fresh: 2,
        reused: 5,
        dropped: 1,
        ..InstanceStatistics::default()
    };
    assert_eq!(bench.runtime.statistics(), expected);
    assert_outcome(&bench.failure("errs", &[]), OutcomeKind::TaskError);
}

/// Equal seeds give equal numbers, whatever sandbox the task gets.
#[test]
fn random_numbers_follow_the_seed_under_every_policy() {
    let mut all = Vec::new();
    for policy in [
        InstancePolicy::Fresh,
        InstancePolicy::Prewarmed,
        InstancePolicy::Reuse,
    ] {
        let mut bench = bench(policy);
        for _ in 0..3 {
            bench.worker.prewarm();
            let mut numbers = Vec::new();
            for seed in [7, 8] {
                for task in ["random", "seeded", "seed"] {
                    let mut attempt = bench.attempt(task, Vec::new());
                    attempt.seed = seed;
                    numbers.push(number(&bench.run(&attempt)));
                    bench.worker.prewarm();
                }
            }
            all.push(numbers);
        }
    }
    let first = &all[0];
    assert!(all.iter().all(|numbers| numbers == first), "{all:?}");
    assert_ne!(first[0], first[3]);
    assert_ne!(first[1], first[4]);
    assert_eq!((first[2], first[5]), (7, 8));
}
