//! The tasks: those of TaPS under their names, with their command lines, and four more — the image
//! table of the inputs, what the mosaic looks like, and for a run without data the images and the
//! comparison with what they show.

use taps::{Bytes, Error, File, List, Payload, Program, Result};

use crate::fits::Image;
use crate::ipac::Table;
use crate::montage::{run, run_difference};
use crate::preview::Preview;
use crate::statistics::{self, Statistics};
use crate::synthetic::Survey;
use crate::truth::{self, Truth};

/// Name of the mosaic's header in every scratch directory.
const HEADER: &str = "region.hdr";
/// Name of the table of projected images.
const IMAGES: &str = "images.tbl";
/// Columns of an image table.
const NAME: &str = "fname";
const NUMBER: &str = "cntr";

/// Name of the area image that belongs to an image.
pub(crate) fn area_name(name: &str) -> String {
    format!("{}_area.fits", name.trim_end_matches(".fits"))
}

/// A text that a program wrote.
fn text(payload: &Payload) -> Result<String> {
    let bytes = payload.bytes()?;
    Ok(str::from_utf8(bytes.as_slice())?.to_owned())
}

/// Runs `mImgtbl` over files in a directory, and sorts what it found by name: the order of a
/// directory's entries is nobody's. `None` if it found nothing.
fn image_table_of(
    directory: &str,
    names: &[String],
    images: List<Payload>,
) -> Result<Option<Table>> {
    let mut program = Program::new("mImgtbl")
        .args([directory, IMAGES])
        .output(IMAGES);
    for (name, image) in names.iter().zip(images.into_payloads()) {
        program = program.input(format!("{directory}/{name}"), image);
    }
    let (done, status) = run(program)?;
    if status.count("count") == Some(0) {
        return Ok(None);
    }
    let table = text(&done.output(IMAGES)?)?;
    Table::parse(IMAGES, &table)?.sorted(NAME, NUMBER).map(Some)
}

/// The names that a table has.
pub(crate) fn table_names(table: &Table) -> Result<Vec<String>> {
    let column = table.column(NAME)?;
    (0..table.len())
        .map(|row| table.text(row, column).map(str::to_owned))
        .collect()
}

/// Makes the table of the input images, and from it the header of the mosaic. Unless `some` of
/// them are enough, it is an error if one is not an image with a place in the sky.
#[taps::task(pure, programs("mImgtbl", "mMakeHdr"))]
pub(crate) fn mmakehdr(
    names: Vec<String>,
    some: bool,
    images: List<Payload>,
) -> Result<(String, String)> {
    let table = image_table_of("images", &names, images)?;
    let known = table.as_ref().map(table_names).transpose()?;
    let known = known.unwrap_or_default();
    let unknown: Vec<_> = names.iter().filter(|name| !known.contains(name)).collect();
    let Some(table) = table.filter(|_| some || unknown.is_empty()) else {
        let message = format!("mImgtbl takes {unknown:?} for no images with a place in the sky");
        return Err(Error::app("BadFits", message));
    };
    let table = table.to_string();
    let program = Program::new("mMakeHdr")
        .args([IMAGES, HEADER])
        .input(IMAGES, &table)
        .output(HEADER);
    let header = text(&run(program)?.0.output(HEADER)?)?;
    Ok((table, header))
}

/// Projects an image onto the pixels of the mosaic.
#[taps::task(pure, programs("mProject", "mProjectPP"))]
pub(crate) fn mproject(image: Payload, header: &str, program: String) -> Result<(File, File)> {
    let program = Program::new(program)
        .args(["in.fits", "out.fits", HEADER])
        .input("in.fits", &image)
        .input(HEADER, header)
        .output("out.fits")
        .output("out_area.fits");
    let (done, _) = run(program)?;
    let output = |name| done.output(name).map(File::new);
    Ok((output("out.fits")?, output("out_area.fits")?))
}

/// Makes the table of the projected images.
#[taps::task(pure, programs("mImgtbl"))]
pub(crate) fn mimgtbl(names: Vec<String>, images: List<Payload>) -> Result<String> {
    let table = image_table_of("projections", &names, images)?;
    let found = table.as_ref().map(table_names).transpose()?;
    let found = found.unwrap_or_default();
    let Some(table) = table.filter(|_| found == names) else {
        let message = format!("mImgtbl lists {found:?} instead of {names:?}");
        return Err(Error::app("BadTable", message));
    };
    Ok(table.to_string())
}

/// Lists the pairs of images that overlap.
#[taps::task(pure, programs("mOverlaps"))]
pub(crate) fn moverlaps(images: &str) -> Result<String> {
    let program = Program::new("mOverlaps")
        .args([IMAGES, "diffs.tbl"])
        .input(IMAGES, images)
        .output("diffs.tbl");
    text(&run(program)?.0.output("diffs.tbl")?)
}

/// Subtracts one projected image from another where they overlap.
#[taps::task(pure, programs("mDiff"))]
pub(crate) fn mdiff(
    plus: Payload,
    plus_area: Payload,
    minus: Payload,
    minus_area: Payload,
    header: &str,
) -> Result<File> {
    let program = Program::new("mDiff")
        .args(["plus.fits", "minus.fits", "diff.fits", HEADER])
        .input("plus.fits", &plus)
        .input("plus_area.fits", &plus_area)
        .input("minus.fits", &minus)
        .input("minus_area.fits", &minus_area)
        .input(HEADER, header)
        .output("diff.fits");
    let done = run_difference(program)?;
    done.output("diff.fits").map(File::new)
}

/// Fits a plane to each difference, and finds the plane to subtract from each image so that all
/// differences vanish. Gives the table of fits, that of corrections, and how many differences had
/// no fit.
#[taps::task(pure, programs("mFitExec", "mBgModel"))]
pub(crate) fn bgexec_prep(
    images: &str,
    overlaps: &str,
    names: Vec<String>,
    differences: List<Payload>,
) -> Result<(String, String, u64)> {
    let mut program = Program::new("mFitExec")
        .args(["diffs.tbl", "fits.tbl", "diffs"])
        .input("diffs.tbl", overlaps)
        .output("fits.tbl");
    for (name, difference) in names.iter().zip(differences.into_payloads()) {
        program = program.input(format!("diffs/{name}"), difference);
    }
    let (done, status) = run(program)?;
    let fits = done.output("fits.tbl")?;
    let unfitted = status.count("failed").unwrap_or(0);
    let program = Program::new("mBgModel")
        .args([IMAGES, "fits.tbl", "corrections.tbl"])
        .input(IMAGES, images)
        .input("fits.tbl", &fits)
        .output("corrections.tbl");
    let corrections = run(program)?.0.output("corrections.tbl")?;
    Ok((text(&fits)?, text(&corrections)?, unfitted))
}

/// Subtracts its correction from a projected image. One that the table does not have is not
/// changed.
#[taps::task(pure, programs("mBackground"))]
pub(crate) fn mbackground(
    image: Payload,
    area: Payload,
    corrections: &str,
    number: u32,
) -> Result<(File, File)> {
    let table = Table::parse("corrections.tbl", corrections)?;
    let plane = correction(&table, number)?;
    let plane = plane.unwrap_or_else(|| ["0", "0", "0"].map(str::to_owned));
    let program = Program::new("mBackground")
        .args(["in.fits", "out.fits"])
        .args(plane)
        .input("in.fits", &image)
        .input("in_area.fits", &area)
        .output("out.fits")
        .output("out_area.fits");
    let (done, _) = run(program)?;
    let output = |name| done.output(name).map(File::new);
    Ok((output("out.fits")?, output("out_area.fits")?))
}

/// The correction of an image, as it stands in the table.
pub(crate) fn correction(table: &Table, number: u32) -> Result<Option<[String; 3]>> {
    let id = table.column("id")?;
    let columns = [table.column("a")?, table.column("b")?, table.column("c")?];
    for row in 0..table.len() {
        if table.count(row, id)? != number {
            continue;
        }
        let mut plane = [const { String::new() }; 3];
        for (value, column) in plane.iter_mut().zip(columns) {
            table.number(row, column)?;
            table.text(row, column)?.clone_into(value);
        }
        return Ok(Some(plane));
    }
    Ok(None)
}

/// Adds the corrected images up to the mosaic. They come as image and area, one pair after the
/// other.
#[taps::task(pure, programs("mAdd"))]
pub(crate) fn madd(
    images: &str,
    header: &str,
    names: Vec<String>,
    corrected: List<Payload>,
) -> Result<(File, File)> {
    let mut program = Program::new("mAdd")
        .args(["-p", "corrections", IMAGES, HEADER, "mosaic.fits"])
        .input(IMAGES, images)
        .input(HEADER, header)
        .output("mosaic.fits")
        .output("mosaic_area.fits");
    let files = names
        .iter()
        .flat_map(|name| [name.clone(), area_name(name)]);
    for (name, file) in files.zip(corrected.into_payloads()) {
        program = program.input(format!("corrections/{name}"), file);
    }
    let (done, _) = run(program)?;
    let output = |name| done.output(name).map(File::new);
    Ok((output("mosaic.fits")?, output("mosaic_area.fits")?))
}

/// Says what an image holds, and shows it as a PNG file whose longer side has at most `picture`
/// pixels; 0 for none.
#[taps::task(pure)]
pub(crate) fn image_summary(image: Payload, picture: u32) -> Result<(Statistics, Bytes)> {
    let image = Image::open(&image)?;
    if picture == 0 {
        let statistics = statistics::of_image(&image, |_, _| {})?;
        return Ok((statistics, Bytes::from(Vec::new())));
    }
    let mut preview = Preview::new(image.shape.width, image.shape.height, picture)?;
    let statistics = statistics::of_image(&image, |number, row| preview.add_row(number, row))?;
    Ok((statistics, Bytes::from(preview.png()?)))
}

/// Makes an image of a known sky.
#[taps::task(pure)]
pub(crate) fn generate_image(seed: u64, images: u32, side: u32, image: u32) -> Bytes {
    let survey = Survey { seed, images, side };
    Bytes::from(survey.exposure(image))
}

/// Holds a mosaic of generated images against the sky that they show.
#[taps::task(pure)]
pub(crate) fn compare_with_sky(
    mosaic: Payload,
    seed: u64,
    images: u32,
    side: u32,
) -> Result<Truth> {
    truth::compare(&mosaic, Survey { seed, images, side })
}
