//! Matrices with padding, and the plain definitions that the kernels are compared with.

use proptest::prelude::*;
use taps_kernels::{MatMut, MatRef};

/// A matrix in a buffer whose other elements hold [`PAD`].
#[derive(Clone, Debug)]
pub(crate) struct Strided {
    pub(crate) data: Vec<f64>,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

/// Fills the gaps; every use of a gap or change to it is seen.
pub(crate) const PAD: f64 = f64::NAN;

impl Strided {
    /// A matrix of pseudo-random numbers in -1 to 1. `order` chooses the longer stride, the gaps
    /// widen the two strides.
    pub(crate) fn new(
        rows: usize,
        columns: usize,
        order: Order,
        gaps: (usize, usize),
        seed: u64,
    ) -> Self {
        let short = 1 + gaps.0;
        let (row_stride, column_stride) = match order {
            Order::Columns => (short, rows.max(1) * short + gaps.1),
            Order::Rows => (columns.max(1) * short + gaps.1, short),
        };
        let span = rows * row_stride + columns * column_stride + 3;
        let data = vec![PAD; span];
        let mut matrix = Self {
            data,
            rows,
            columns,
            row_stride,
            column_stride,
        };
        for column in 0..columns {
            for row in 0..rows {
                let index = (row * 4099 + column) as u64;
                matrix.set(row, column, random(seed, index));
            }
        }
        matrix
    }

    pub(crate) fn get(&self, row: usize, column: usize) -> f64 {
        self.data[row * self.row_stride + column * self.column_stride]
    }

    pub(crate) fn set(&mut self, row: usize, column: usize, value: f64) {
        self.data[row * self.row_stride + column * self.column_stride] = value;
    }

    pub(crate) fn view(&self) -> MatRef<'_, f64> {
        let Self {
            data,
            rows,
            columns,
            row_stride,
            column_stride,
        } = self;
        MatRef::new(data, *rows, *columns, *row_stride, *column_stride).unwrap()
    }

    pub(crate) fn view_mut(&mut self) -> MatMut<'_, f64> {
        let Self {
            data,
            rows,
            columns,
            row_stride,
            column_stride,
        } = self;
        MatMut::new(data, *rows, *columns, *row_stride, *column_stride).unwrap()
    }

    /// Makes the matrix a well-conditioned lower triangle, with NaN above the diagonal.
    pub(crate) fn lower(mut self) -> Self {
        for column in 0..self.columns {
            for row in 0..self.rows {
                let value = self.get(row, column) / (1 + row) as f64;
                let value = if row == column { value + 2.0 } else { value };
                self.set(row, column, if row < column { PAD } else { value });
            }
        }
        self
    }

    /// How many elements of the buffer hold [`PAD`].
    pub(crate) fn pads(&self) -> usize {
        self.data.iter().filter(|value| value.is_nan()).count()
    }
}

/// Which stride is the longer one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Columns,
    Rows,
}

/// SplitMix64 of a counter, as a number in -1 to 1.
pub(crate) fn random(seed: u64, index: u64) -> f64 {
    let mut bits =
        (seed ^ index.wrapping_mul(0xd134_2543_de82_ef95)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    (bits >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// A matrix of any layout.
pub(crate) fn strided(rows: usize, columns: usize) -> impl Strategy<Value = Strided> {
    let order = prop_oneof![Just(Order::Columns), Just(Order::Rows)];
    let gaps = (prop_oneof![3 => Just(0_usize), 1 => 1..3_usize], 0..4_usize);
    (order, gaps, any::<u64>())
        .prop_map(move |(order, gaps, seed)| Strided::new(rows, columns, order, gaps, seed))
}

/// Factors by which the kernels take shortcuts, and others.
pub(crate) fn factor() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(1.0), Just(-1.0), -2.0..2.0]
}

/// alpha A B + beta C by the definition; C is not read when beta is zero.
pub(crate) fn product(
    alpha: f64,
    a: &Strided,
    b: &Strided,
    beta: f64,
    c: &Strided,
) -> Vec<Vec<f64>> {
    let element = |row: usize, column: usize| {
        let terms = (0..a.columns).map(|k| a.get(row, k) * b.get(k, column));
        let old = if beta == 0.0 {
            0.0
        } else {
            beta * c.get(row, column)
        };
        alpha * terms.sum::<f64>() + old
    };
    let row = |row| (0..c.columns).map(|column| element(row, column)).collect();
    (0..c.rows).map(row).collect()
}
