//! Dense linear algebra on strided views: `gemm`, `syrk`, `trsm` and `potrf`.
//!
//! One crate serves two places. The host runs the kernels on a guest's own memory, in place, with
//! [`Native`]; a guest that may not or will not ask the host runs the same algorithms with
//! [`Portable`], which gives the same bits on every processor.
//!
//! ```text
//!   potrf ──► trsm ──► gemm ──► Backend::gemm ─┬─ Native    gemm crate, AVX-512 / AVX2 / NEON
//!      └────► syrk ──►─┘                       └─ Portable  packed 4x4 (f64), 8x4 (f32) tiles
//! ```
//!
//! Matrices are views ([`MatRef`], [`MatMut`]) over slices, with any non-negative strides;
//! a transpose is a view with its strides swapped. Their shapes are checked once, when they are
//! made, so that a caller may pass on numbers from an untrusted guest.
//!
//! Every kernel runs on the calling thread and calls `check` at its start and then at least every
//! few milliseconds of work; when `check` says [`Cancelled`] the kernel returns at once and leaves
//! its output half-written.
//!
//! What this crate never does: start threads, keep state between calls, or read an element
//! outside its views.

#![expect(
    clippy::inline_always,
    reason = "code outside of the vectorised function would keep the baseline instruction set"
)]

mod backend;
mod element;
mod error;
mod gemm;
mod meter;
#[cfg(all(feature = "native", not(target_arch = "wasm32")))]
mod native;
mod portable;
mod potrf;
mod syrk;
mod trsm;
mod view;

pub use backend::Backend;
pub use element::Element;
pub use error::{Cancelled, KernelError, ShapeError};
pub use gemm::{gemm, gemm_f32, gemm_f64};
pub use meter::never;
#[cfg(all(feature = "native", not(target_arch = "wasm32")))]
pub use native::Native;
pub use portable::Portable;
/// Without the feature `native` the portable kernels.
#[cfg(not(any(feature = "native", target_arch = "wasm32")))]
pub use portable::Portable as Native;
pub use potrf::potrf;
pub use syrk::syrk;
pub use trsm::trsm;
pub use view::{MatMut, MatRef};
