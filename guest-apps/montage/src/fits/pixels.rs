//! Pixels.

use taps::{Error, Result};

use super::{Header, Shape, Source, bad};

/// Bytes read at once; a row is always whole.
const PIECE_BYTES: u64 = 1 << 20;

/// An image whose pixels are read row by row.
pub(crate) struct Image<'a, S: ?Sized> {
    source: &'a S,
    pub(crate) header: Header,
    pub(crate) shape: Shape,
    width: usize,
}

impl<'a, S: Source + ?Sized> Image<'a, S> {
    /// Opens an image of two axes.
    pub(crate) fn open(source: &'a S) -> Result<Self> {
        let header = Header::read(source)?;
        let shape = header.whole_shape(source.size())?;
        if shape.planes != 1 {
            return Err(bad(format!("{} planes instead of one", shape.planes)));
        }
        let row_bytes = shape.width.checked_mul(shape.pixel_bytes());
        let width = row_bytes
            .and_then(|bytes| usize::try_from(bytes).ok())
            .and_then(|_| usize::try_from(shape.width).ok())
            .ok_or_else(|| bad("rows too long for this machine"))?;
        Ok(Self {
            source,
            header,
            shape,
            width,
        })
    }

    /// Gives each row, lowest first, with its number. Pixels without a value are NaN.
    pub(crate) fn rows(&self, mut take: impl FnMut(u64, &[f64]) -> Result<()>) -> Result<()> {
        let row_bytes = self.shape.width * self.shape.pixel_bytes();
        let rows_at_once = (PIECE_BYTES / row_bytes).max(1);
        let mut row = Vec::with_capacity(self.width);
        let mut number = 0;
        while number < self.shape.height {
            let rows = rows_at_once.min(self.shape.height - number);
            let offset = self.header.length_bytes + number * row_bytes;
            let piece = self.source.read(offset, (rows * row_bytes) as usize)?;
            for bytes in piece.chunks_exact(row_bytes as usize) {
                decode(&self.shape, bytes, &mut row);
                take(number, &row)?;
                number += 1;
            }
            if (piece.len() as u64) < rows * row_bytes {
                return Err(Error::app("TruncatedFits", "it ends within its pixels"));
            }
        }
        Ok(())
    }

    /// All pixels, the lowest row first.
    pub(crate) fn pixels(&self) -> Result<Vec<f64>> {
        let mut pixels = Vec::new();
        self.rows(|_, row| {
            pixels.extend_from_slice(row);
            Ok(())
        })?;
        Ok(pixels)
    }
}

fn decode(shape: &Shape, bytes: &[u8], row: &mut Vec<f64>) {
    row.clear();
    match shape.bitpix {
        8 => whole(shape, bytes, row, |[byte]: [u8; 1]| i64::from(byte)),
        16 => whole(shape, bytes, row, |bytes| {
            i64::from(i16::from_be_bytes(bytes))
        }),
        32 => whole(shape, bytes, row, |bytes| {
            i64::from(i32::from_be_bytes(bytes))
        }),
        64 => whole(shape, bytes, row, i64::from_be_bytes),
        -32 => real(shape, bytes, row, |bytes| {
            f64::from(f32::from_be_bytes(bytes))
        }),
        _ => real(shape, bytes, row, f64::from_be_bytes),
    }
}

fn real<const N: usize>(
    shape: &Shape,
    bytes: &[u8],
    row: &mut Vec<f64>,
    read: impl Fn([u8; N]) -> f64,
) {
    let (pixels, _) = bytes.as_chunks::<N>();
    row.extend(
        pixels
            .iter()
            .map(|pixel| shape.zero + shape.scale * read(*pixel)),
    );
}

fn whole<const N: usize>(
    shape: &Shape,
    bytes: &[u8],
    row: &mut Vec<f64>,
    read: impl Fn([u8; N]) -> i64,
) {
    let (pixels, _) = bytes.as_chunks::<N>();
    row.extend(pixels.iter().map(|pixel| match read(*pixel) {
        stored if shape.blank == Some(stored) => f64::NAN,
        stored => shape.zero + shape.scale * stored as f64,
    }));
}
