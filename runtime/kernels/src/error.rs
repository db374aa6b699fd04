//! What can go wrong.

use std::fmt::{self, Display, Formatter};

/// A view that its slice cannot hold, or that is no view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// The slice ends before the last element of the matrix.
    #[error("the matrix needs {needed} elements, the buffer has {length}")]
    TooShort {
        /// Elements from the first to the last of the matrix.
        needed: usize,
        /// Elements in the slice.
        length: usize,
    },
    /// The extent of the matrix does not fit the address space.
    #[error("the extent of the matrix overflows")]
    Overflow,
    /// Two positions of a matrix that is to be written may be the same element. The test is
    /// sufficient, not necessary: the longer stride must step over all that the shorter reaches.
    #[error("the strides of the output overlap")]
    Overlap,
}

/// The work was given up because `check` asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// Why a kernel gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// The operands' shapes do not fit each other. Nothing was written.
    #[error("{kernel}: the shapes {} do not fit", Shapes(.shapes))]
    Mismatch {
        /// The kernel called.
        kernel: &'static str,
        /// Rows and columns of each operand, in the order of the arguments.
        shapes: Vec<(usize, usize)>,
    },
    /// A pivot was not a positive finite number. The columns before it hold the factor, the
    /// others are undefined.
    #[error("the matrix is not positive definite: column {column}")]
    NotPositiveDefinite {
        /// The first such column, from 0.
        column: usize,
    },
    /// `check` asked to stop. The output is undefined.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Shapes as `2x3, 3x4`.
struct Shapes<'a>(&'a [(usize, usize)]);

impl Display for Shapes<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for (index, (rows, columns)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(out, "{comma}{rows}x{columns}")?;
        }
        Ok(())
    }
}
