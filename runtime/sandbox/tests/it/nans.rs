//! Which bits a NaN has, and what that is worth to an app.

use crate::{
    bench::{Bench, Setup, number},
    guest::Guest,
};
use taps_schema::Nans;

/// A quiet NaN with a payload, which both processors hand on.
const MARKED: i64 = 0x7fc0_1234;
/// The NaN that Wasm calls canonical.
const CANONICAL: i64 = 0x7fc0_0000;

/// Adds one to a number of the given bits, and gives the bits of the sum.
fn sum(nans: Nans, bits: i64) -> i64 {
    let body = format!(
        "(i32.store (i32.const 0x40000) (i32.const {bits}))
         (call $number (i64.extend_i32_u (i32.reinterpret_f32
           (f32.add (f32.load (i32.const 0x40000)) (f32.const 1)))))"
    );
    let setup = Setup {
        nans,
        ..Setup::default()
    };
    let mut bench = Bench::with(&Guest::new(&[("sum", &body)]), setup);
    number(&bench.call("sum", &[]))
}

#[test]
fn a_nan_has_the_same_bits_everywhere_unless_the_app_has_no_use_for_that() {
    assert_eq!(sum(Nans::Canonical, MARKED), CANONICAL);
    assert_eq!(sum(Nans::Host, MARKED), MARKED);
    let two = i64::from(2f32.to_bits());
    for nans in [Nans::Canonical, Nans::Host] {
        assert_eq!(sum(nans, i64::from(1f32.to_bits())), two, "{nans:?}");
    }
}
