//! Views refuse what does not fit, because their shapes come from guests.

use proptest::prelude::*;
use taps_kernels::{MatMut, MatRef, ShapeError};

#[test]
fn too_short() {
    let data = [0.0_f64; 11];
    let error = MatRef::column_major(&data, 3, 4).unwrap_err();
    assert_eq!(
        error,
        ShapeError::TooShort {
            needed: 12,
            length: 11
        }
    );
    assert_eq!(
        error.to_string(),
        "the matrix needs 12 elements, the buffer has 11"
    );
    // The last row of the last column need not be padded.
    assert!(MatRef::new(&data, 3, 3, 1, 4).is_ok());
}

#[test]
fn overflow() {
    let data = [0.0_f64; 4];
    for (rows, columns, row_stride, column_stride) in [
        (usize::MAX, usize::MAX, 1, 1),
        (usize::MAX, 2, 0, 0),
        (2, 2, usize::MAX, 1),
        (3, 1, usize::MAX, 1),
        (2, 2, usize::MAX / 2, usize::MAX / 2),
    ] {
        let found = MatRef::new(&data, rows, columns, row_stride, column_stride);
        assert_eq!(found.unwrap_err(), ShapeError::Overflow, "{rows} {columns}");
    }
}

#[test]
fn empty_and_unused_strides() {
    let mut none: [f64; 0] = [];
    assert!(MatRef::new(&none, 0, 7, 1, usize::MAX).is_ok());
    assert!(MatMut::new(&mut none, 5, 0, 0, 0).is_ok());
    let mut one = [1.0];
    let view = MatMut::new(&mut one, 1, 1, usize::MAX, usize::MAX).unwrap();
    assert_eq!((view.row_stride(), view.column_stride()), (1, 1));
    let mut three = [1.0, 2.0, 3.0];
    let row = MatMut::new(&mut three, 1, 3, 0, 1).unwrap();
    assert_eq!(row.get(0, 2), 3.0);
}

#[test]
fn transposes_and_blocks() {
    let data: Vec<f64> = (0..20).map(f64::from).collect();
    let view = MatRef::column_major(&data, 4, 5).unwrap();
    assert_eq!(view.get(2, 3), 14.0);
    assert_eq!(view.transpose().get(3, 2), 14.0);
    let block = view.block(1, 2, 3, 2);
    assert_eq!((block.shape(), block.get(1, 1)), ((3, 2), 14.0));
    assert_eq!(view.block(4, 5, 0, 0).shape(), (0, 0));
}

#[test]
#[should_panic(expected = "block 3x2 at (2, 0) is outside of 4x5")]
fn block_outside() {
    let data = [0.0; 20];
    let _ = MatRef::column_major(&data, 4, 5).unwrap().block(2, 0, 3, 2);
}

proptest! {
    /// An accepted view names each element once and within the slice; a refused one is too long
    /// or may overlap.
    #[test]
    fn accepted_views_are_sound(
        length in 0..40_usize,
        (rows, columns) in (0..6_usize, 0..6_usize),
        (row_stride, column_stride) in (0..12_usize, 0..12_usize),
    ) {
        let mut data = vec![0_u8; length];
        let mut offsets = Vec::new();
        for column in 0..columns {
            offsets.extend((0..rows).map(|row| row * row_stride + column * column_stride));
        }
        let beyond = offsets.iter().any(|&offset| offset >= length);
        let readable = MatRef::new(&data, rows, columns, row_stride, column_stride);
        prop_assert_eq!(readable.is_err(), beyond);
        offsets.sort_unstable();
        let overlap = offsets.windows(2).any(|pair| pair[0] == pair[1]);
        match MatMut::new(&mut data, rows, columns, row_stride, column_stride) {
            Ok(mut view) => {
                prop_assert!(!beyond && !overlap);
                for column in 0..columns {
                    for row in 0..rows {
                        view.set(row, column, view.get(row, column) + 1);
                    }
                }
                prop_assert!(data.iter().all(|&count| count <= 1));
            }
            Err(ShapeError::Overlap) => prop_assert!(!beyond),
            Err(error) => prop_assert!(beyond, "{error}"),
        }
    }

    /// Both common orders, with any padding, are accepted for writing.
    #[test]
    fn padded_orders_are_accepted(rows in 0..6_usize, columns in 0..6_usize, gap in 0..4_usize) {
        let mut data = vec![0.0; 200];
        prop_assert!(MatMut::new(&mut data, rows, columns, 1, rows + gap).is_ok());
        prop_assert!(MatMut::new(&mut data, rows, columns, columns + gap, 1).is_ok());
        prop_assert!(MatMut::new(&mut data, rows, columns, 2, 2 * rows + gap).is_ok());
    }

    /// Shapes straight from a guest never panic.
    #[test]
    fn any_shape_is_answered(
        (rows, columns) in (any::<u32>(), any::<u32>()),
        (row_stride, column_stride) in (any::<u32>(), any::<u32>()),
    ) {
        let mut data = [0.0_f32; 64];
        let [rows, columns, row_stride, column_stride] =
            [rows, columns, row_stride, column_stride].map(|value| value as usize);
        let _ = MatRef::new(&data, rows, columns, row_stride, column_stride);
        let _ = MatMut::new(&mut data, rows, columns, row_stride, column_stride);
    }
}
