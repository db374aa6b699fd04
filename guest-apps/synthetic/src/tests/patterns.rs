//! The patterns by themselves.

use proptest::prelude::*;

use crate::patterns::{Pattern, Shape};

const ALL: [Shape; 11] = [
    Shape::Trivial,
    Shape::NoComm,
    Shape::Stencil,
    Shape::StencilPeriodic,
    Shape::Dom,
    Shape::Tree,
    Shape::Fft,
    Shape::AllToAll,
    Shape::Nearest,
    Shape::Spread,
    Shape::Random,
];

fn pattern(shape: Shape, width: u32, steps: u32) -> Pattern {
    Pattern {
        shape,
        width,
        steps,
        radix: 3.min(width),
        period: 3,
        fraction: 0.25,
        seed: 1,
    }
}

fn parents(pattern: &Pattern, step: u32, column: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    pattern.parents(step, column, &mut parents);
    parents
}

/// Tasks and edges of a pattern.
fn counts(shape: Shape, width: u32, steps: u32) -> (u64, u64) {
    let pattern = pattern(shape, width, steps);
    (pattern.tasks(), pattern.edges())
}

#[test]
fn small_patterns_have_known_counts() {
    assert_eq!(counts(Shape::Trivial, 4, 5), (20, 0));
    assert_eq!(counts(Shape::NoComm, 4, 5), (20, 16));
    assert_eq!(counts(Shape::Stencil, 4, 5), (20, 4 * 10));
    assert_eq!(counts(Shape::StencilPeriodic, 4, 5), (20, 4 * 12));
    // 1, 2, 3, 4, 3, 2, 1 tasks; the diamond has 12 edges to the left and 12 straight down.
    assert_eq!(counts(Shape::Dom, 4, 7), (16, 24));
    // 1, 2, 4, 4, 4 tasks, each but the first with one parent.
    assert_eq!(counts(Shape::Tree, 4, 5), (15, 14));
    // Two levels: neighbours (2 + 3 + 3 + 2), then those two away (2 each).
    assert_eq!(counts(Shape::Fft, 4, 5), (20, 2 * 10 + 2 * 8));
    assert_eq!(counts(Shape::AllToAll, 4, 5), (20, 4 * 16));
    assert_eq!(counts(Shape::Nearest, 4, 5), (20, 4 * 10));
    assert_eq!(counts(Shape::Spread, 6, 2), (12, 6 * 3));
}

#[test]
fn parents_are_those_of_the_definitions() {
    let of = |shape, step, column| parents(&pattern(shape, 8, 8), step, column);
    assert_eq!(of(Shape::Stencil, 3, 0), [0, 1]);
    assert_eq!(of(Shape::Stencil, 3, 4), [3, 4, 5]);
    assert_eq!(of(Shape::StencilPeriodic, 3, 0), [0, 1, 7]);
    assert_eq!(of(Shape::Dom, 2, 2), [1, 2]);
    assert_eq!(of(Shape::Tree, 3, 7), [3]);
    assert_eq!(of(Shape::Fft, 1, 3), [2, 3, 4]);
    assert_eq!(of(Shape::Fft, 2, 3), [1, 3, 5]);
    assert_eq!(of(Shape::Fft, 3, 3), [3, 7]);
    assert_eq!(of(Shape::Fft, 4, 3), [2, 3, 4], "and round again");
    assert_eq!(of(Shape::AllToAll, 1, 5), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(of(Shape::Nearest, 1, 3), [2, 3, 4]);
    assert_eq!(of(Shape::Spread, 3, 1), [1, 3, 6], "not turned");
    assert_eq!(of(Shape::Spread, 4, 1), [1, 4, 7], "turned by one");
    for shape in ALL {
        assert_eq!(of(shape, 0, 0), [] as [u32; 0], "{shape:?}");
    }
    let even = Pattern {
        radix: 4,
        ..pattern(Shape::Nearest, 8, 8)
    };
    assert_eq!(parents(&even, 1, 3), [1, 2, 3, 4], "more to the left");
    let none = Pattern {
        radix: 0,
        ..pattern(Shape::Nearest, 8, 8)
    };
    assert_eq!(parents(&none, 1, 3), [] as [u32; 0]);
}

#[test]
fn random_has_its_own_column_and_a_share_of_the_others() {
    let random = Pattern {
        radix: 21,
        fraction: 0.25,
        period: 100,
        ..pattern(Shape::Random, 1000, 101)
    };
    let mut edges = 0;
    for step in 1..101 {
        for column in 10..990 {
            let parents = parents(&random, step, column);
            assert!(parents.contains(&column));
            assert!(parents.iter().all(|at| at.abs_diff(column) <= 10));
            edges += parents.len() - 1;
        }
    }
    let share = edges as f64 / (100.0 * 980.0 * 20.0);
    assert!((share - 0.25).abs() < 0.005, "{share}");
    let other = Pattern { seed: 2, ..random };
    assert_ne!(random.edges(), other.edges());
    let all = Pattern {
        fraction: 1.0,
        ..pattern(Shape::Random, 9, 4)
    };
    assert_eq!(all.edges(), pattern(Shape::Nearest, 9, 4).edges());
}

#[test]
fn dom_sweeps_from_one_corner_to_the_other() {
    let rows: Vec<_> = (0..7)
        .map(|step| pattern(Shape::Dom, 4, 7).columns(step))
        .collect();
    assert_eq!(rows, [0..1, 0..2, 0..3, 0..4, 1..4, 2..4, 3..4]);
    let tree: Vec<_> = (0..5)
        .map(|step| pattern(Shape::Tree, 6, 5).columns(step).len())
        .collect();
    assert_eq!(tree, [1, 2, 4, 6, 6]);
}

prop_compose! {
    fn any_pattern()(
        shape in prop::sample::select(&ALL[..]),
        width in 1_u32..40,
        steps in 1_u32..20,
        radix in 0_u32..50,
        period in 1_u32..8,
        fraction in 0.0..=1.0,
        seed: u64,
    ) -> Pattern {
        let radix = if shape == Shape::Spread { radix.clamp(1, width) } else { radix };
        Pattern { shape, width, steps, radix, period, fraction, seed }
    }
}

proptest! {
    #[test]
    fn both_directions_agree_and_stay_within_bounds(pattern in any_pattern()) {
        let mut forward = Vec::new();
        let mut backward = Vec::new();
        let mut list = Vec::new();
        for step in 0..pattern.steps {
            let columns = pattern.columns(step);
            prop_assert!(!columns.is_empty() && columns.end <= pattern.width);
            for column in columns {
                pattern.parents(step, column, &mut list);
                prop_assert!(list.is_sorted_by(|a, b| a < b), "{list:?}");
                prop_assert!(step > 0 || list.is_empty());
                if step > 0 {
                    let before = pattern.columns(step - 1);
                    prop_assert!(list.iter().all(|parent| before.contains(parent)));
                }
                backward.extend(list.iter().map(|parent| (step, *parent, column)));
                pattern.children(step, column, &mut list);
                prop_assert!(list.is_sorted_by(|a, b| a < b), "{list:?}");
                forward.extend(list.iter().map(|child| (step + 1, column, *child)));
            }
        }
        forward.sort_unstable();
        backward.sort_unstable();
        prop_assert_eq!(pattern.edges(), backward.len() as u64);
        prop_assert_eq!(forward, backward);
    }
}
