//! The idx format of MNIST: a file of images and one of labels.
//!
//! ```text
//! images: 00 00 08 03, count, rows, columns (big-endian u32 each), pixels
//! labels: 00 00 08 01, count, labels
//! ```

use taps::{Array, Result};

use super::{Dataset, data_error};

/// Unsigned bytes in three dimensions.
const IMAGES: u32 = 0x0803;
/// Unsigned bytes in one dimension.
const LABELS: u32 = 0x0801;

/// The number at a position of the header.
fn number(name: &str, bytes: &[u8], index: usize) -> Result<u32> {
    let at = bytes.get(4 * index..4 * index + 4);
    let number = at.and_then(|at| at.try_into().ok()).map(u32::from_be_bytes);
    number.ok_or_else(|| {
        let reason = format!("ends after {} bytes, within its header", bytes.len());
        data_error(name, reason)
    })
}

/// What follows the header, of the length that it says.
fn body<'a>(name: &str, bytes: &'a [u8], kind: u32) -> Result<(usize, &'a [u8])> {
    let magic = number(name, bytes, 0)?;
    let word = |kind| if kind == IMAGES { "images" } else { "labels" };
    if magic != kind {
        let expected = format!("expected {} (0x{kind:08x})", word(kind));
        let found = match magic {
            IMAGES | LABELS => format!("holds {} (0x{magic:08x})", word(magic)),
            _ => format!("begins with 0x{magic:08x}, which is no idx file of bytes"),
        };
        return Err(data_error(name, format!("{found}; {expected}")));
    }
    let count = number(name, bytes, 1)?;
    let (start, each) = match kind {
        IMAGES => (
            16,
            u64::from(number(name, bytes, 2)?) * u64::from(number(name, bytes, 3)?),
        ),
        _ => (8, 1),
    };
    let rest = &bytes[start..];
    // Three numbers of 32 bits do not fit 64.
    let length = u128::from(count) * u128::from(each);
    if rest.len() as u128 != length {
        let what = if (rest.len() as u128) < length {
            "truncated"
        } else {
            "too long"
        };
        let reason = format!(
            "{what}: {} bytes of {}, but its header announces {count}, which take {length}",
            rest.len(),
            word(kind)
        );
        return Err(data_error(name, reason));
    }
    Ok((count as usize, rest))
}

/// Samples of a file of images and one of labels.
pub(super) fn samples(
    dataset: Dataset,
    most: usize,
    files: &[(&str, Vec<u8>)],
) -> Result<Array<u8>> {
    let [(image_name, images), (label_name, labels)] = files else {
        return Err(data_error(
            "idx",
            "expected a file of images and one of labels",
        ));
    };
    let (count, pixels) = body(image_name, images, IMAGES)?;
    let (rows, columns) = (
        number(image_name, images, 2)?,
        number(image_name, images, 3)?,
    );
    let side = dataset.side();
    if (rows, columns) != (side, side) {
        let reason = format!("images of {rows} x {columns} pixels; expected {side} x {side}");
        return Err(data_error(image_name, reason));
    }
    let (label_count, labels) = body(label_name, labels, LABELS)?;
    if label_count != count {
        let reason = format!("{label_count} labels for the {count} images of {image_name}");
        return Err(data_error(label_name, reason));
    }
    if count == 0 {
        return Err(data_error(image_name, "no images"));
    }
    let size = dataset.pixels();
    let count = count.min(most);
    let mut samples = Array::zeros(&[count, 1 + size]);
    let each = pixels.chunks_exact(size).zip(labels);
    for (sample, (pixels, label)) in samples.as_mut_slice().chunks_exact_mut(1 + size).zip(each) {
        sample[0] = *label;
        sample[1..].copy_from_slice(pixels);
    }
    Ok(samples)
}
