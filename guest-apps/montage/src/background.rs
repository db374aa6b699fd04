//! How well the corrections make overlapping images agree.

use taps::Result;

use crate::ipac::Table;
use crate::plane::Plane;

/// The level of the differences between overlapping images, before and after the corrections:
/// the root of the mean square over all pairs, each as heavy as it has pixels, in counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Agreement {
    pub(crate) before: f64,
    pub(crate) after: f64,
    /// Images that the table of corrections has.
    pub(crate) corrected: u64,
}

/// The planes of a table of corrections, by the number of their image.
fn corrections(table: &Table) -> Result<Vec<(u32, Plane)>> {
    let id = table.column("id")?;
    let (a, b, c) = (table.column("a")?, table.column("b")?, table.column("c")?);
    (0..table.len())
        .map(|row| {
            let plane = Plane {
                a: table.number(row, a)?,
                b: table.number(row, b)?,
                c: table.number(row, c)?,
            };
            Ok((table.count(row, id)?, plane))
        })
        .collect()
}

/// Holds the fits of all differences against the corrections.
pub(crate) fn agreement(fits: &str, corrected: &str) -> Result<Agreement> {
    let corrections = corrections(&Table::parse("corrections.tbl", corrected)?)?;
    let fits = Table::parse("fits.tbl", fits)?;
    let column = |name| fits.column(name);
    let (plus, minus) = (column("plus")?, column("minus")?);
    let (a, b, c) = (column("a")?, column("b")?, column("c")?);
    let (x, y, pixels) = (column("xcenter")?, column("ycenter")?, column("npixel")?);
    let (mut before, mut after, mut weights) = (0.0, 0.0, 0.0);
    for row in 0..fits.len() {
        let (x, y) = (fits.number(row, x)?, fits.number(row, y)?);
        let level = |number: u32| {
            let found = corrections.iter().find(|(id, _)| *id == number);
            found.map_or(0.0, |(_, plane)| plane.at(x, y))
        };
        let plane = Plane {
            a: fits.number(row, a)?,
            b: fits.number(row, b)?,
            c: fits.number(row, c)?,
        };
        let difference = plane.at(x, y);
        let correction = level(fits.count(row, plus)?) - level(fits.count(row, minus)?);
        let weight = fits.number(row, pixels)?;
        before += weight * difference * difference;
        after += weight * (difference - correction) * (difference - correction);
        weights += weight;
    }
    let mean = |sum: f64| {
        if weights > 0.0 {
            libm::sqrt(sum / weights)
        } else {
            0.0
        }
    };
    Ok(Agreement {
        before: mean(before),
        after: mean(after),
        corrected: corrections.len() as u64,
    })
}
