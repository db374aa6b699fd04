//! Arrays of plain numbers.
//!
//! ```text
//! byte 0      4       5      6         8                        40        64
//!      ┌──────┬───────┬──────┬─────────┬────────────────────────┬─────────┬─────────────
//!      │ TAPA │ dtype │ ndim │ 0       │ shape: 4 × u64, unused │ 0       │ data, row-major
//!      │      │ u8    │ u8   │         │ dimensions are 0       │         │ little-endian
//!      └──────┴───────┴──────┴─────────┴────────────────────────┴─────────┴─────────────
//! ```

use std::marker::PhantomData;

use crate::{Bytes, Error, Result, Value};

/// Bytes before the data.
pub(crate) const HEADER_BYTES: usize = 64;
/// Most dimensions that an array can have.
pub(crate) const MAX_DIMENSIONS: usize = 4;
const MAGIC: [u8; 4] = *b"TAPA";

/// A plain number that arrays can hold.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an element of an array",
    note = "arrays hold f64, f32, i64, i32, u64, u32 or u8"
)]
pub trait Element: bytemuck::Pod + PartialEq + std::fmt::Debug + 'static {
    /// Code of the type in the header.
    const CODE: u8;
    /// Name of the type.
    const NAME: &'static str;
}

macro_rules! elements {
    ($($type:ty = $code:literal;)*) => {$(
        impl Element for $type {
            const CODE: u8 = $code;
            const NAME: &'static str = stringify!($type);
        }
    )*};
}

elements! {
    f64 = 1;
    f32 = 2;
    i64 = 3;
    i32 = 4;
    u64 = 5;
    u32 = 6;
    u8 = 7;
}

/// Plain numbers with a shape of one to four dimensions, row-major.
///
/// In a task, an array of 1 MiB or more is built where the host can publish it, and an
/// argument of that size is read where it lies: neither is copied. The data is aligned to
/// 16 bytes, and to 64 bytes where it lies in such a place.
///
/// ```
/// let mut a = taps::Array::<f64>::zeros(&[2, 3]);
/// a[(1, 2)] = 5.0;
/// assert_eq!(a.as_slice(), &[0.0, 0.0, 0.0, 0.0, 0.0, 5.0]);
/// assert_eq!(a.row(1), &[0.0, 0.0, 5.0]);
/// ```
#[derive(Clone)]
pub struct Array<T: Element> {
    bytes: Bytes,
    shape: [usize; MAX_DIMENSIONS],
    dimensions: usize,
    _element: PhantomData<T>,
}

impl<T: Element> Array<T> {
    /// An array of zeros.
    ///
    /// # Panics
    /// If `shape` is empty, has more than four dimensions, or does not fit in memory.
    pub fn zeros(shape: &[usize]) -> Self {
        assert!(
            (1..=MAX_DIMENSIONS).contains(&shape.len()),
            "an array has 1 to {MAX_DIMENSIONS} dimensions, not {}",
            shape.len()
        );
        let size = total_bytes::<T>(shape).expect("the array does not fit in memory");
        let mut bytes = Bytes::zeros(size);
        write_header::<T>(bytes.as_mut_slice(), shape);
        let mut extents = [1; MAX_DIMENSIONS];
        extents[..shape.len()].copy_from_slice(shape);
        Self {
            bytes,
            shape: extents,
            dimensions: shape.len(),
            _element: PhantomData,
        }
    }

    /// A one-dimensional array.
    pub fn from_slice(values: &[T]) -> Self {
        let mut array = Self::zeros(&[values.len()]);
        array.as_mut_slice().copy_from_slice(values);
        array
    }

    /// An array whose elements are given by their position in row-major order.
    pub fn from_fn(shape: &[usize], mut element: impl FnMut(usize) -> T) -> Self {
        let mut array = Self::zeros(shape);
        for (position, value) in array.as_mut_slice().iter_mut().enumerate() {
            *value = element(position);
        }
        array
    }

    /// A matrix whose elements are given by row and column.
    pub fn from_fn_2d(
        rows: usize,
        columns: usize,
        mut element: impl FnMut(usize, usize) -> T,
    ) -> Self {
        Self::from_fn(&[rows, columns], |position| {
            element(position / columns, position % columns)
        })
    }

    /// Extent of each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape[..self.dimensions]
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape().iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All elements, row-major.
    pub fn as_slice(&self) -> &[T] {
        bytemuck::cast_slice(&self.bytes.as_slice()[HEADER_BYTES..])
    }

    /// All elements, row-major, to be changed. An argument is copied first.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.bytes.as_mut_slice()[HEADER_BYTES..])
    }

    /// Number of rows: the first dimension.
    pub fn rows(&self) -> usize {
        self.shape[0]
    }

    /// Number of columns: elements per row.
    pub fn columns(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// One row.
    pub fn row(&self, row: usize) -> &[T] {
        let columns = self.columns();
        &self.as_slice()[row * columns..(row + 1) * columns]
    }

    /// One row, to be changed.
    pub fn row_mut(&mut self, row: usize) -> &mut [T] {
        let columns = self.columns();
        &mut self.as_mut_slice()[row * columns..(row + 1) * columns]
    }
}

impl<T: Element> std::ops::Index<(usize, usize)> for Array<T> {
    type Output = T;
    fn index(&self, (row, column): (usize, usize)) -> &T {
        &self.row(row)[column]
    }
}

impl<T: Element> std::ops::IndexMut<(usize, usize)> for Array<T> {
    fn index_mut(&mut self, (row, column): (usize, usize)) -> &mut T {
        &mut self.row_mut(row)[column]
    }
}

impl<T: Element> PartialEq for Array<T> {
    fn eq(&self, other: &Self) -> bool {
        self.shape() == other.shape() && self.as_slice() == other.as_slice()
    }
}

impl<T: Element> std::fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Array<{}>{:?}", T::NAME, self.shape())
    }
}

/// Header and data, if that fits in memory.
fn total_bytes<T>(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(size_of::<T>(), |size, extent| size.checked_mul(*extent))?
        .checked_add(HEADER_BYTES)
        .filter(|size| isize::try_from(*size).is_ok())
}

fn write_header<T: Element>(bytes: &mut [u8], shape: &[usize]) {
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4] = T::CODE;
    bytes[5] = shape.len() as u8;
    for (place, extent) in bytes[8..40].chunks_exact_mut(8).zip(shape) {
        place.copy_from_slice(&(*extent as u64).to_le_bytes());
    }
}

/// Reads the shape from the header of an array, checked against the length.
fn read_header<T: Element>(bytes: &[u8]) -> Result<([usize; MAX_DIMENSIONS], usize), String> {
    if bytes.len() < HEADER_BYTES || bytes[..4] != MAGIC {
        return Err("no array header".to_owned());
    }
    if bytes[4] != T::CODE {
        return Err(format!(
            "element type {} is not {} ({})",
            bytes[4],
            T::NAME,
            T::CODE
        ));
    }
    let dimensions = usize::from(bytes[5]);
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        return Err(format!("{dimensions} dimensions"));
    }
    let mut shape = [1; MAX_DIMENSIONS];
    for (extent, place) in shape[..dimensions]
        .iter_mut()
        .zip(bytes[8..40].chunks_exact(8))
    {
        let value = u64::from_le_bytes(place.try_into().unwrap_or_default());
        *extent = usize::try_from(value).map_err(|_| format!("an extent of {value}"))?;
    }
    if total_bytes::<T>(&shape[..dimensions]) != Some(bytes.len()) {
        let shape = &shape[..dimensions];
        return Err(format!(
            "shape {shape:?} does not fit {} bytes",
            bytes.len()
        ));
    }
    Ok((shape, dimensions))
}

impl<T: Element> Value for Array<T> {
    fn encode(&self) -> Result<Bytes> {
        Ok(self.bytes.clone())
    }

    fn into_bytes(self) -> Result<Bytes> {
        Ok(self.bytes)
    }

    fn decode(bytes: Bytes) -> Result<Self> {
        let bytes = bytes.aligned();
        let (shape, dimensions) = read_header::<T>(&bytes)
            .map_err(|reason| Error::decode(&format!("Array<{}>", T::NAME), reason))?;
        Ok(Self {
            bytes,
            shape,
            dimensions,
            _element: PhantomData,
        })
    }
}
