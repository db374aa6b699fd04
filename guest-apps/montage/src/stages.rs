//! The stages of a mosaic, as the driver goes through them.

use std::collections::{BTreeMap, HashMap};

use taps::{Argument, Bytes, Engine, Error, File, Future, Result};

use crate::exposures::Exposure;
use crate::fits::Header;
use crate::footprint::Footprint;
use crate::ipac::Table;
use crate::statistics::Statistics;
use crate::tasks::{
    bgexec_prep, image_summary, madd, mbackground, mdiff, mimgtbl, mmakehdr, moverlaps, mproject,
    table_names,
};
use crate::{BadImages, FailedPairs};

/// A projected image.
struct Projected {
    exposure: Exposure,
    image: Future<File>,
    area: Future<File>,
}

/// All projected images, sorted by name, and what they are projected onto.
pub(crate) struct Projections {
    input_table: Future<String>,
    header: Future<String>,
    images: Vec<Projected>,
}

impl Projections {
    /// Projects all images, and begins the difference of two as soon as both are there and
    /// overlap.
    pub(crate) fn run(
        engine: &Engine,
        mut exposures: Vec<Exposure>,
        program: &str,
        bad: BadImages,
    ) -> Result<(Self, EarlyDifferences)> {
        let names: Vec<String> = exposures.iter().map(|image| image.name.clone()).collect();
        let skip = bad == BadImages::Skip;
        let images = exposures.iter().map(Exposure::argument);
        let (input_table, header) = engine.submit(mmakehdr::call(&names, skip, images))?;
        engine.phase("project");
        if skip {
            // Only here must be known which ones there are.
            let table = Table::parse("images.tbl", &input_table.result()?)?;
            let known = table_names(&table)?;
            exposures.retain(|image| {
                let good = known.contains(&image.name);
                if !good {
                    taps::warn!("{} is left out: mImgtbl finds no image in it", image.file);
                }
                good
            });
        }
        let images = exposures
            .into_iter()
            .map(|exposure| {
                let call = mproject::call(exposure.argument(), &header, program);
                let (image, area) = engine.submit(call)?;
                Ok(Projected {
                    exposure,
                    image,
                    area,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let projections = Self {
            input_table,
            header,
            images,
        };
        let early = projections.begin_differences(engine)?;
        Ok((projections, early))
    }

    /// Waits for the images, one after the other as they come.
    fn begin_differences(&self, engine: &Engine) -> Result<EarlyDifferences> {
        let numbers: HashMap<u64, usize> = self
            .images
            .iter()
            .map(|image| image.image.id())
            .zip(0..)
            .collect();
        let mut footprints: Vec<Option<Footprint>> = vec![None; self.images.len()];
        let mut early = EarlyDifferences::default();
        let mut failed = Vec::new();
        let futures = self.images.iter().map(|image| image.image.clone());
        for future in engine.as_completed(futures) {
            let Some(number) = numbers.get(&future.id()).copied() else {
                continue;
            };
            if let Err(error) = future.finish() {
                // Whoever waited for the header in vain is not to blame.
                self.header.finish()?;
                taps::error!("{}: {error}", self.images[number].exposure.file);
                failed.push(error);
                continue;
            }
            let footprint = Footprint::of(&Header::read(&future.payload()?)?)?;
            for (other, there) in footprints.iter().enumerate() {
                if there.is_some_and(|there| there.overlaps(&footprint)) {
                    let pair = (number.min(other), number.max(other));
                    early.0.insert(pair, self.subtract(engine, pair)?);
                }
            }
            footprints[number] = Some(footprint);
        }
        match failed.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(early),
        }
    }

    /// Submits the difference of two images.
    fn subtract(&self, engine: &Engine, (plus, minus): (usize, usize)) -> Result<Future<File>> {
        let (plus, minus) = (&self.images[plus], &self.images[minus]);
        engine.submit(mdiff::call(
            &plus.image,
            &plus.area,
            &minus.image,
            &minus.area,
            &self.header,
        ))
    }

    fn names(&self) -> Vec<String> {
        let images = self.images.iter();
        images
            .map(|image| image.exposure.projected_name())
            .collect()
    }
}

/// Differences that were begun before the table of overlaps was there, by their images.
#[derive(Default)]
pub(crate) struct EarlyDifferences(BTreeMap<(usize, usize), Future<File>>);

/// A pair of images that gave no difference.
pub(crate) struct FailedPair {
    pub(crate) plus: String,
    pub(crate) minus: String,
    /// Kind of the failure, `NoOverlap` for one.
    pub(crate) kind: String,
}

/// A pair of the table of overlaps.
struct Pair {
    images: (usize, usize),
    /// Name of the difference in the table.
    name: String,
    difference: Future<File>,
}

/// All differences.
pub(crate) struct Differences {
    /// Table of the projected images.
    pub(crate) images: Future<String>,
    /// Table of the pairs.
    pub(crate) overlaps: String,
    /// Pairs in it.
    pub(crate) pairs: u64,
    pub(crate) failed: Vec<FailedPair>,
    /// Names and images of those that did not fail.
    good: Vec<(String, Future<File>)>,
}

impl EarlyDifferences {
    /// Makes the table of overlaps, begins what of it was not begun, and waits for all.
    pub(crate) fn finish(
        self,
        engine: &Engine,
        projections: &Projections,
        policy: FailedPairs,
    ) -> Result<Differences> {
        engine.phase("difference");
        let files = projections.images.iter().map(|image| &image.image);
        let images = engine.submit(mimgtbl::call(projections.names(), files))?;
        let overlaps = engine.submit(moverlaps::call(&images))?;
        images.finish()?;
        let overlaps = overlaps.result()?;
        let pairs = self.pairs(engine, projections, &overlaps)?;
        let mut differences = Differences {
            images,
            overlaps,
            pairs: pairs.len() as u64,
            failed: Vec::new(),
            good: Vec::new(),
        };
        for pair in pairs {
            differences.settle(projections, pair, policy)?;
        }
        let count = projections.images.len();
        if count > 1 && differences.good.is_empty() && policy != FailedPairs::Tolerate {
            let message = format!(
                "no two of the {count} images have a pixel in common: their backgrounds cannot \
                 be matched; hint: failed_pairs = tolerate makes a mosaic without that"
            );
            return Err(Error::app("NoOverlap", message));
        }
        Ok(differences)
    }

    /// The pairs of the table, each with its difference.
    fn pairs(
        mut self,
        engine: &Engine,
        projections: &Projections,
        overlaps: &str,
    ) -> Result<Vec<Pair>> {
        let table = Table::parse("diffs.tbl", overlaps)?;
        let columns = (
            table.column("plus")?,
            table.column("minus")?,
            table.column("diff")?,
        );
        let names = projections.names();
        let numbers: HashMap<&str, usize> = names.iter().map(String::as_str).zip(0..).collect();
        let find = |name: &str| {
            let unknown = || Error::app("BadTable", format!("diffs.tbl: no image {name}"));
            numbers.get(name).copied().ok_or_else(unknown)
        };
        let mut pairs = Vec::with_capacity(table.len());
        for row in 0..table.len() {
            let images = (
                find(table.text(row, columns.0)?)?,
                find(table.text(row, columns.1)?)?,
            );
            let difference = match self.0.remove(&images) {
                Some(begun) => begun,
                None => projections.subtract(engine, images)?,
            };
            pairs.push(Pair {
                images,
                name: table.text(row, columns.2)?.to_owned(),
                difference,
            });
        }
        // What mOverlaps does not list is nobody's concern.
        for future in self.0.values() {
            future.cancel();
        }
        Ok(pairs)
    }
}

impl Differences {
    /// Waits for a difference, and judges one that failed.
    fn settle(&mut self, projections: &Projections, pair: Pair, policy: FailedPairs) -> Result<()> {
        let Err(error) = pair.difference.finish() else {
            self.good.push((pair.name, pair.difference));
            return Ok(());
        };
        let tolerated = match policy {
            FailedPairs::TolerateNoOverlap => error.kind() == "NoOverlap",
            FailedPairs::Tolerate => true,
            FailedPairs::Fail => false,
        };
        let file = |number: usize| projections.images[number].exposure.file.clone();
        let (plus, minus) = (file(pair.images.0), file(pair.images.1));
        if !tolerated {
            taps::error!("{plus} and {minus}: {error}");
            return Err(error);
        }
        let reason = error.failure().map_or("", |failure| &failure.message);
        taps::warn!("{plus} and {minus} give no difference: {reason}");
        self.failed.push(FailedPair {
            plus,
            minus,
            kind: error.kind().to_owned(),
        });
        Ok(())
    }
}

/// The mosaic, submitted.
pub(crate) struct Mosaic {
    /// Images in it.
    pub(crate) images: u64,
    pub(crate) input_table: Future<String>,
    pub(crate) header: Future<String>,
    pub(crate) fits: Future<String>,
    pub(crate) corrections: Future<String>,
    /// Differences to which no plane could be fitted.
    pub(crate) unfitted: Future<u64>,
    corrected: Vec<Future<File>>,
    pub(crate) image: Future<File>,
    pub(crate) area: Future<File>,
    pub(crate) summary: Future<Statistics>,
    pub(crate) picture: Future<Bytes>,
    pub(crate) area_summary: Future<Statistics>,
}

impl Mosaic {
    /// Submits everything that is left: what each task waits for is in its arguments.
    pub(crate) fn submit(
        engine: &Engine,
        projections: Projections,
        differences: &Differences,
        picture_size: u32,
    ) -> Result<Self> {
        engine.phase("mosaic");
        let (names, files): (Vec<_>, Vec<_>) = differences.good.iter().cloned().unzip();
        let (fits, corrections, unfitted) = engine.submit(bgexec_prep::call(
            &differences.images,
            differences.overlaps.as_str(),
            names,
            &files,
        ))?;
        let mut corrected = Vec::new();
        let mut arguments: Vec<Argument> = Vec::new();
        for (image, number) in projections.images.iter().zip(0_u32..) {
            let call = mbackground::call(&image.image, &image.area, &corrections, number);
            let (image, area) = engine.submit(call)?;
            arguments.extend([image.as_argument(), area.as_argument()]);
            corrected.push(image);
        }
        let names = projections.names();
        let Projections {
            input_table,
            header,
            ..
        } = projections;
        let (image, area) =
            engine.submit(madd::call(&differences.images, &header, names, arguments))?;
        let (summary, picture) = engine.submit(image_summary::call(&image, picture_size))?;
        let (area_summary, _) = engine.submit(image_summary::call(&area, 0))?;
        Ok(Self {
            images: corrected.len() as u64,
            input_table,
            header,
            fits,
            corrections,
            unfitted,
            corrected,
            image,
            area,
            summary,
            picture,
            area_summary,
        })
    }

    /// Waits for all, so that the first task that failed is the one that is reported.
    pub(crate) fn finish(&self) -> Result<()> {
        self.corrections.finish()?;
        self.corrected.iter().try_for_each(Future::finish)?;
        self.image.finish()?;
        self.summary.finish()?;
        self.area_summary.finish()
    }
}
