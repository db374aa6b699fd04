//! The kernels from outside: agreement with their definitions, the portable order of sums,
//! untrusted shapes, and cancellation.
#![expect(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "tests of exact values"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "matrix code reads best with indices"
)]

mod agreement;
mod bits;
mod cancel;
mod digest;
mod reference;
mod views;
