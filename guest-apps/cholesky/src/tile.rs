//! Tiles, and the dense operations on them.
//!
//! A tile is an [`Array`] of b x b numbers that holds its matrix column by column: row r of the
//! array is column r of the tile, so the tile is the array's transpose. The kernels are fastest
//! on such.

use taps::Array;
use taps::kernels::{self, Matrix, MatrixMut};

/// A square block of a matrix, column by column.
pub(crate) type Tile = Array<f64>;

fn view(tile: &Tile) -> Matrix<'_, f64> {
    tile.view().transpose()
}

fn view_mut(tile: &mut Tile) -> MatrixMut<'_, f64> {
    tile.view_mut().transpose()
}

/// A fresh tile with the numbers of another: an argument is immutable, kernels work in place.
pub(crate) fn copy(tile: &Tile) -> Tile {
    let mut copy = Array::zeros(tile.shape());
    copy.as_mut_slice().copy_from_slice(tile.as_slice());
    copy
}

/// A fresh tile with the lower triangle of another, and zeros above.
pub(crate) fn copy_lower(tile: &Tile) -> Tile {
    let mut copy = Array::zeros(tile.shape());
    for column in 0..tile.rows() {
        copy.row_mut(column)[column..].copy_from_slice(&tile.row(column)[column..]);
    }
    copy
}

/// The Cholesky factor of the lower triangle, in place.
pub(crate) fn potrf(tile: &mut Tile) -> taps::Result<()> {
    kernels::potrf(view_mut(tile))
}

/// X with X Lᵀ = `block`, in place.
pub(crate) fn trsm(lower: &Tile, block: &mut Tile) -> taps::Result<()> {
    kernels::trsm(view(lower), view_mut(block))
}

/// `tile` -= L Lᵀ on and below the diagonal.
pub(crate) fn syrk(lower: &Tile, tile: &mut Tile) -> taps::Result<()> {
    kernels::syrk(-1.0, view(lower), 1.0, view_mut(tile))
}

/// `tile` -= `left` `right`ᵀ.
pub(crate) fn gemm(left: &Tile, right: &Tile, tile: &mut Tile) -> taps::Result<()> {
    kernels::gemm(
        -1.0,
        view(left),
        view(right).transpose(),
        1.0,
        view_mut(tile),
    )
}

/// `sums` += `factor` M `vectors`, with M the tile or its transpose; the vectors one after another.
pub(crate) fn apply(
    factor: f64,
    tile: &Tile,
    orientation: Orientation,
    vectors: &[f64],
    sums: &mut [f64],
) -> taps::Result<()> {
    let side = tile.rows();
    let count = vectors.len() / side;
    let matrix = match orientation {
        Orientation::Plain => view(tile),
        Orientation::Transposed => view(tile).transpose(),
    };
    let vectors = Matrix::row_major(vectors, count, side).transpose();
    let sums = MatrixMut::row_major(sums, count, side).transpose();
    kernels::gemm(factor, matrix, vectors, 1.0, sums)
}

/// How a tile enters a product.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Orientation {
    /// As it is.
    Plain,
    /// Rows and columns exchanged.
    Transposed,
}
