//! How well the corrections make overlapping images agree.

use std::collections::HashMap;

use taps::Result;

use crate::ipac::{ColumnIndex, Table};
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

/// Where a table has the three numbers of a plane.
struct PlaneColumns([ColumnIndex; 3]);

impl PlaneColumns {
    fn of(table: &Table) -> Result<Self> {
        let [a, b, c] = ["a", "b", "c"].map(|name| table.column(name));
        Ok(Self([a?, b?, c?]))
    }

    fn plane(&self, table: &Table, row: usize) -> Result<Plane> {
        let [a, b, c] = self.0.map(|column| table.number(row, column));
        Ok(Plane {
            a: a?,
            b: b?,
            c: c?,
        })
    }
}

/// The planes of a table of corrections, by the number of their image.
fn corrections(table: &Table) -> Result<HashMap<u32, Plane>> {
    let id = table.column("id")?;
    let columns = PlaneColumns::of(table)?;
    (0..table.len())
        .map(|row| Ok((table.count(row, id)?, columns.plane(table, row)?)))
        .collect()
}

/// Holds the fits of all differences against the corrections.
pub(crate) fn agreement(fits: &str, corrected: &str) -> Result<Agreement> {
    let corrections = corrections(&Table::parse("corrections.tbl", corrected)?)?;
    let fits = Table::parse("fits.tbl", fits)?;
    let planes = PlaneColumns::of(&fits)?;
    let (plus, minus) = (fits.column("plus")?, fits.column("minus")?);
    let middle = (fits.column("xcenter")?, fits.column("ycenter")?);
    let pixels = fits.column("npixel")?;
    let (mut before, mut after, mut weights) = (0.0, 0.0, 0.0);
    for row in 0..fits.len() {
        let (x, y) = (fits.number(row, middle.0)?, fits.number(row, middle.1)?);
        let level = |number: u32| {
            let plane = corrections.get(&number);
            plane.map_or(0.0, |plane| plane.at(x, y))
        };
        let difference = planes.plane(&fits, row)?.at(x, y);
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
