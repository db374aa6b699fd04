//! The images.

use taps::{Array, Bytes, Error, Result};
use taps_plot::{PlotError, Surface};

/// Draws the map of the terrain, and the terrain as seen from above one of its corners, both with
/// the balls at the start and at the end. Positions are rows of an array. Both images are PNGs.
#[taps::task(pure)]
pub(crate) fn render(
    terrain: &Array<f32>,
    from: &Array<f64>,
    to: &Array<f64>,
    resolution: u32,
) -> Result<(Bytes, Bytes)> {
    let rows = |positions: &Array<f64>| -> Vec<[f64; 3]> {
        let rows = positions.as_slice().chunks_exact(3);
        rows.map(|row| [row[0], row[1], row[2]]).collect()
    };
    let surface = Surface::new(
        "Balls on the terrain",
        terrain.as_slice(),
        terrain.columns(),
        1.0 / f64::from(resolution),
    )
    .points("start", &rows(from))
    .points("end", &rows(to));
    let contour = surface.contour_png().map_err(failed)?;
    let view = surface.view_png().map_err(failed)?;
    Ok((contour.into(), view.into()))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: PlotError) -> Error {
    Error::app("PlotError", error.to_string())
}
