//! What is written: the images, and the positions as a table.

use std::fmt::Write as _;

use taps::{Bytes, Error, Future, OutputDir, Result};

use crate::simulation::{End, Start};

/// Map of the terrain, with the balls.
pub(crate) const CONTOUR: &str = "contour.png";
/// View of the terrain, with the balls.
pub(crate) const TERRAIN: &str = "terrain.png";
/// Positions and energies of the balls.
pub(crate) const TABLE: &str = "positions.csv";

/// Fails if the directory cannot be written.
pub(crate) fn prepare(directory: &OutputDir) -> Result<()> {
    std::fs::write(directory.join(TABLE), "").map_err(|error| {
        let expected = format!("a directory that can be written ({error})");
        Error::config("output_dir", directory, expected)
    })
}

/// Writes the table: metres, m/s and joules, a line for each ball. Numbers are exact: the shortest
/// that mean the same bits.
pub(crate) fn write_table(directory: &OutputDir, starts: &[Start], ends: &[End]) -> Result<()> {
    let mut text = "ball,start_x,start_y,start_z,start_vx,start_vy,start_vz,end_x,end_y,end_z,\
                    start_energy,end_energy,energy_rise\n"
        .to_owned();
    for (ball, (start, end)) in starts.iter().zip(ends).enumerate() {
        write!(text, "{ball}")?;
        let vectors = [start.position, start.velocity, end.position];
        let energies = [end.start_energy, end.final_energy, end.energy_rise];
        for number in vectors.iter().flatten().chain(&energies) {
            write!(text, ",{number}")?;
        }
        text.push('\n');
    }
    write(directory, TABLE, text.as_bytes())
}

/// Writes an image when it is there.
pub(crate) fn write_image(directory: &OutputDir, name: &str, image: &Future<Bytes>) -> Result<()> {
    write(directory, name, image.result()?.as_slice())
}

fn write(directory: &OutputDir, name: &str, content: &[u8]) -> Result<()> {
    directory
        .write(name, content)
        .map_err(|error| Error::app("OutputError", format!("failed to write {name}: {error}")))
}
