//! The montage app: background-corrected mosaics of astronomical images, by Montage's programs.
//!
//! ```text
//! images ─► mmakehdr ─ header ─┐
//! image ──────────────► mproject ─┬─► mdiff ─┐  (each pair as soon as both are there)
//! image ──────────────► mproject ─┤   mdiff ─┼─► bgexec_prep ─ corrections ─┐
//!                                 ├─► mimgtbl ─► moverlaps ─ pairs           │
//!                                 └─────────────────────────────────► mbackground ─► madd ─► mosaic
//! ```
//!
//! Names, numbers and command lines of the seven tasks are those of TaPS. Unlike there, nothing
//! waits for more than it needs, tables of any length are read properly, failed pairs are counted,
//! and the mosaic is checked. Programs run in tasks only, so the table of the inputs and the
//! header of the mosaic are made by a task, too. Images pass from program to program as files;
//! the app reads their headers, and the mosaic once.

mod background;
mod expected;
mod exposures;
mod fits;
mod footprint;
mod ipac;
mod montage;
mod output;
mod plane;
mod preview;
mod stages;
mod statistics;
mod status;
mod synthetic;
mod tasks;
#[cfg(test)]
mod tests;
mod truth;
mod wcs;

use serde_json::json;
use taps::{Bound, Engine, Error, Future, InputDir, InputFile, OutputDir, Report, Result};

use background::Agreement;
use expected::Expected;
use exposures::{Exposure, Listing};
use output::Results;
use stages::{Differences, Mosaic, Projections};
use statistics::Statistics;
use synthetic::Survey;
use tasks::{area_name, compare_with_sky, generate_image};
use truth::Truth;

/// Files of a run whose names cannot be chosen.
const FIXED_NAMES: [&str; 5] = [
    "images.tbl",
    "diffs.tbl",
    "fits.tbl",
    "corrections.tbl",
    "stats.jsonl",
];
/// Longest name of a file of a run.
const LONGEST_NAME: usize = 100;

/// Mosaic of overlapping images of the sky, their backgrounds matched.
#[derive(Debug, taps::Config)]
#[taps(check = Montage::check)]
struct Montage {
    /// Directory of the images (*.fits); none for generated ones.
    img_folder: Option<InputDir>,
    /// Name of the table of the images, in the output directory.
    #[taps(default = "Kimages.tbl")]
    img_tbl: String,
    /// Name of the header of the mosaic, in the output directory.
    #[taps(default = "Kimages.hdr")]
    img_hdr: String,
    /// Directory of the mosaic, its picture and the tables.
    #[taps(default = "{run_dir}/data")]
    output_dir: OutputDir,
    /// Name of the mosaic, without `.fits`.
    #[taps(default = "mosaic")]
    mosaic_name: String,
    /// Program that projects: `mProject` for any projection, `mProjectPP` for tangent planes
    /// only, much faster.
    #[taps(default = "mproject")]
    project: Projector,
    /// What a pair of images means that gives no difference.
    #[taps(default = "tolerate-no-overlap")]
    failed_pairs: FailedPairs,
    /// What a file means that is no whole FITS image.
    #[taps(default = "fail")]
    bad_images: BadImages,
    /// Longer side of the picture of the mosaic, in pixels; 0 for none.
    #[taps(default = 1024, max = 16_384)]
    png_size: u32,
    /// Statistics (`stats.jsonl`) that the mosaic must have, within one part in a million.
    expected: Option<InputFile>,
    /// Images to generate, without `img_folder`.
    #[taps(default = 9, min = 1, max = 10_000)]
    generated_images: u32,
    /// Side of a generated image, in pixels.
    #[taps(default = 64, min = 32, max = 4096)]
    generated_size: u32,
}

/// The program that projects images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, taps::ConfigEnum)]
enum Projector {
    Mproject,
    Mprojectpp,
}

impl Projector {
    /// Name of the program.
    fn program(self) -> &'static str {
        match self {
            Self::Mproject => "mProject",
            Self::Mprojectpp => "mProjectPP",
        }
    }
}

/// What happens when a pair of images gives no difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, taps::ConfigEnum)]
enum FailedPairs {
    /// Pairs without a pixel in common are counted; any other failure ends the run.
    TolerateNoOverlap,
    /// All failures are counted.
    Tolerate,
    /// Any failure ends the run.
    Fail,
}

/// What happens to a file that is no whole FITS image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, taps::ConfigEnum)]
enum BadImages {
    /// The run ends.
    Fail,
    /// It is left out, and counted.
    Skip,
}

impl Montage {
    fn check(&self) -> Result<()> {
        let mosaic = format!("{}.fits", self.mosaic_name);
        let names = [
            ("img_tbl", &self.img_tbl, self.img_tbl.clone()),
            ("img_hdr", &self.img_hdr, self.img_hdr.clone()),
            ("mosaic_name", &self.mosaic_name, mosaic),
        ];
        for (number, (field, value, file)) in names.iter().enumerate() {
            let plain = !value.is_empty()
                && value.len() <= LONGEST_NAME
                && !value.starts_with('.')
                && !value.contains(['/', '\\'])
                && !value.contains(char::is_control);
            let used = names[..number].iter().any(|(_, _, other)| other == file);
            if !plain || used || FIXED_NAMES.contains(&&**file) {
                let expected = format!(
                    "the name of a file, at most {LONGEST_NAME} bytes, not hidden, and none of {}",
                    FIXED_NAMES.join(", ")
                );
                return Err(Error::config(field, value, expected));
            }
        }
        Ok(())
    }

    /// The survey that is generated.
    fn survey(&self) -> Survey {
        Survey {
            seed: taps::seed(),
            images: self.generated_images,
            side: self.generated_size,
        }
    }
}

#[taps::app(name = "montage", programs = montage::PROGRAMS)]
fn run(config: Montage, engine: &Engine) -> Result<Report> {
    let expected = match &config.expected {
        Some(file) => Some(Expected::read(engine, file)?),
        None => None,
    };
    let results = Results::create(&config.output_dir)?;
    let Listing {
        exposures,
        left_out,
    } = match &config.img_folder {
        Some(directory) => exposures::list(engine, directory, config.bad_images)?,
        None => generate(engine, config.survey())?,
    };
    let given = exposures.len() as u64 + left_out;
    let program = config.project.program();
    let (projections, differences) =
        Projections::run(engine, exposures, program, config.bad_images)?;
    let differences = differences.finish(engine, &projections, config.failed_pairs)?;
    let mosaic = Mosaic::submit(engine, projections, &differences, config.png_size)?;
    let truth = match &config.img_folder {
        None => Some(submit_comparison(engine, &mosaic, config.survey())?),
        Some(_) => None,
    };
    mosaic.finish()?;
    let truth = truth.map(|truth| truth.result()).transpose()?;

    engine.phase("output");
    let summary = Summary {
        given,
        agreement: background::agreement(&mosaic.fits.result()?, &mosaic.corrections.result()?)?,
        image: mosaic.summary.result()?,
        area: mosaic.area_summary.result()?,
        truth,
    };
    write(&config, &results, &mosaic, &differences, &summary)?;
    let mut report = report(&mosaic, &differences, &summary)?;
    if let Some(expected) = expected {
        let difference = expected.compare(&summary.image, &summary.area);
        report = report
            .check("expected_pixels", difference.counts, equals(0))
            .check(
                "expected_values",
                difference.relative,
                Bound::AtMost(expected::TOLERANCE),
            );
    }
    Ok(report)
}

/// What is known of a mosaic in the end.
struct Summary {
    /// Images that were given.
    given: u64,
    agreement: Agreement,
    image: Statistics,
    area: Statistics,
    /// Only for generated images.
    truth: Option<Truth>,
}

/// Submits the generation of all images.
fn generate(engine: &Engine, survey: Survey) -> Result<Listing> {
    engine.phase("generate");
    let Survey { seed, images, side } = survey;
    let exposures = (0..images)
        .map(|image| {
            let future = engine.submit(generate_image::call(seed, images, side, image))?;
            Ok(Exposure::generated(Survey::name(image), future))
        })
        .collect::<Result<_>>()?;
    Ok(Listing {
        exposures,
        left_out: 0,
    })
}

fn submit_comparison(engine: &Engine, mosaic: &Mosaic, survey: Survey) -> Result<Future<Truth>> {
    let Survey { seed, images, side } = survey;
    engine.submit(compare_with_sky::call(&mosaic.image, seed, images, side))
}

/// Writes everything into the output directory.
fn write(
    config: &Montage,
    results: &Results,
    mosaic: &Mosaic,
    differences: &Differences,
    summary: &Summary,
) -> Result<()> {
    let name = format!("{}.fits", config.mosaic_name);
    let area = area_name(&name);
    results.text(&config.img_tbl, &mosaic.input_table.result()?)?;
    results.text(&config.img_hdr, &mosaic.header.result()?)?;
    results.text("images.tbl", &differences.images.result()?)?;
    results.text("diffs.tbl", &differences.overlaps)?;
    results.text("fits.tbl", &mosaic.fits.result()?)?;
    results.text("corrections.tbl", &mosaic.corrections.result()?)?;
    results.payload(&name, &mosaic.image.payload()?)?;
    results.payload(&area, &mosaic.area.payload()?)?;
    if config.png_size > 0 {
        let picture = format!("{}.png", config.mosaic_name);
        results.payload(&picture, &mosaic.picture.payload()?)?;
    }
    let lines = [
        summary.image.to_json(&name).to_string(),
        summary.area.to_json(&area).to_string(),
    ];
    results.text("stats.jsonl", &(lines.join("\n") + "\n"))
}

fn equals(value: u64) -> Bound {
    Bound::Equals(value.into())
}

fn report(mosaic: &Mosaic, differences: &Differences, summary: &Summary) -> Result<Report> {
    let Summary {
        agreement, image, ..
    } = summary;
    let failed = &differences.failed;
    if !failed.is_empty() {
        let (pairs, of) = (failed.len(), differences.pairs);
        taps::warn!("{pairs} of {of} pairs gave no difference, and are left out");
    }
    taps::info!(
        "mosaic of {} x {} pixels, {} of them finite, from {} images and {} pairs",
        image.width,
        image.height,
        image.finite,
        mosaic.images,
        differences.pairs
    );
    let uncorrected = mosaic.images.saturating_sub(agreement.corrected);
    let failed_pairs: Vec<_> = failed
        .iter()
        .map(|pair| json!({ "plus": pair.plus, "minus": pair.minus, "kind": pair.kind }))
        .collect();
    let mut report = Report::new()
        .check("finite_pixels", image.finite, Bound::AtLeast(1.0))
        .check(
            "background_difference",
            agreement.after,
            Bound::AtMost(agreement.before),
        );
    if let Some(truth) = &summary.truth {
        report = report
            .check(
                "background_spread",
                truth.background_spread.unwrap_or(f64::NAN),
                Bound::AtMost(truth::LARGEST_SPREAD),
            )
            .check("stars", truth.stars, Bound::AtLeast(1.0))
            .check(
                "brightness_error",
                truth.brightness_error,
                Bound::AtMost(truth::LARGEST_ERROR),
            );
    }
    Ok(report
        .value("images", mosaic.images)
        .value("images_left_out", summary.given - mosaic.images)
        .value("images_uncorrected", uncorrected)
        .value("pairs", differences.pairs)
        .value("pairs_failed", failed.len() as u64)
        .value("failed_pairs", failed_pairs)
        .value("pairs_unfitted", mosaic.unfitted.result()?)
        .value("background_difference_before", agreement.before)
        .value("width", image.width)
        .value("height", image.height)
        .value("blank_pixels", image.blank)
        .value("mean", image.mean)
        .value("std", image.std)
        .value("min", image.min)
        .value("max", image.max)
        .value("sum", image.sum))
}
