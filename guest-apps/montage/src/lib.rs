//! The montage app: background-corrected mosaics of astronomical images, by Montage's programs.
mod fits;
mod footprint;
mod ipac;
mod plane;
mod preview;
mod statistics;
mod status;
mod synthetic;
#[cfg(test)]
mod tests;
mod truth;
mod wcs;
