//! The whole app, with the programs on this machine, run bare. Without them the tests say so and
//! pass.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use taps::Report;
use taps::testing::Local;

use crate::APP;
use crate::fits::Image;
use crate::ipac::Table;
use crate::montage::PROGRAMS;
use crate::synthetic::Survey;

/// Whether Montage is installed.
pub(super) fn installed() -> bool {
    taps::testing::installed(&["mAdd", "mProject"])
}

/// The data sets, if `TAPS_WASM_DATA` says where they are.
fn data() -> Option<PathBuf> {
    taps::testing::data().filter(|_| installed())
}

pub(super) fn value<'a>(report: &'a Report, name: &str) -> &'a Value {
    let found = report.values.iter().find(|(key, _)| key == name);
    &found.unwrap_or_else(|| panic!("no value {name}")).1
}

fn check<'a>(report: &'a Report, name: &str) -> &'a Value {
    let found = report.checks.iter().find(|check| check.name == name);
    &found.unwrap_or_else(|| panic!("no check {name}")).value
}

/// A configuration with its output directory.
pub(super) fn config(output: &Path, more: &Value) -> Value {
    let mut config = json!({ "output_dir": output });
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    config
}

fn passing(local: Local, config: &Value) -> Report {
    let report = local.run_app(&APP, config).unwrap();
    assert!(report.passed(), "{report:?}");
    report
}

/// Pixels by their bits: NaN equals NaN.
fn bits(file: &Path) -> Vec<u64> {
    let bytes = fs::read(file).unwrap();
    let image = Image::open(&bytes[..]).unwrap();
    image
        .pixels()
        .unwrap()
        .into_iter()
        .map(f64::to_bits)
        .collect()
}

/// Whether two numbers agree as those of two machines may: arithmetic of another processor can differ
/// in the last digits.
fn near(a: f64, b: f64) -> bool {
    (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1e-3)
}

/// Whether two values, as they are shown, have the same words and numbers that are near.
fn alike<T: std::fmt::Debug>(a: &T, b: &T) -> bool {
    let words = |value: &T| -> Vec<String> {
        let text = format!("{value:?}");
        let parts = text.split(|c: char| ",:()[]{}\"".contains(c) || c.is_whitespace());
        parts
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let (a, b) = (words(a), words(b));
    let same = |(a, b): (&String, &String)| match (a.parse(), b.parse()) {
        (Ok(a), Ok(b)) => near(a, b),
        _ => a == b,
    };
    a.len() == b.len() && a.iter().zip(&b).all(same)
}

fn table(directory: &Path, name: &str) -> Table {
    Table::parse(name, &fs::read_to_string(directory.join(name)).unwrap()).unwrap()
}

fn column(table: &Table, name: &str) -> Vec<String> {
    let column = table.column(name).unwrap();
    (0..table.len())
        .map(|row| table.text(row, column).unwrap().to_owned())
        .collect()
}

/// What a table says of each image, its number left out.
fn by_image(
    table: &Table,
    images: &[String],
    id: &str,
    columns: &[&str],
) -> BTreeMap<String, Vec<String>> {
    let columns: Vec<_> = columns.iter().map(|name| column(table, name)).collect();
    let ids = column(table, id).into_iter().enumerate();
    ids.map(|(row, id)| {
        let name = images[id.parse::<usize>().unwrap()].clone();
        (
            name,
            columns.iter().map(|column| column[row].clone()).collect(),
        )
    })
    .collect()
}

/// Images by their number.
fn numbered(directory: &Path) -> Vec<String> {
    let table = table(directory, "images.tbl");
    let numbers = column(&table, "cntr");
    let mut names: Vec<(usize, String)> = numbers
        .iter()
        .map(|number| number.parse().unwrap())
        .zip(column(&table, "fname"))
        .collect();
    names.sort();
    names.into_iter().map(|(_, name)| name).collect()
}

/// The fit of each pair, turned so that the name of the first image is the smaller one.
fn fits(directory: &Path) -> BTreeMap<(String, String), Vec<f64>> {
    let images = numbered(directory);
    let table = table(directory, "fits.tbl");
    let number = |name: &str| -> Vec<f64> {
        column(&table, name)
            .iter()
            .map(|value| value.parse().unwrap())
            .collect()
    };
    let columns: Vec<_> = ["a", "b", "c", "npixel", "rms"].map(number).into();
    let pairs = number("plus").into_iter().zip(number("minus")).enumerate();
    pairs
        .map(|(row, (plus, minus))| {
            let names = [plus, minus].map(|number| images[number as usize].clone());
            let [plus, minus] = names;
            let sign = if plus < minus { 1.0 } else { -1.0 };
            let plane = columns[..3].iter().map(|column| sign * column[row]);
            let rest = columns[3..].iter().map(|column| column[row]);
            let pair = (plus.clone().min(minus.clone()), plus.max(minus));
            (pair, plane.chain(rest).collect())
        })
        .collect()
}

fn pairs(directory: &Path) -> Vec<[String; 2]> {
    let table = table(directory, "diffs.tbl");
    let names = column(&table, "plus")
        .into_iter()
        .zip(column(&table, "minus"));
    let mut pairs: Vec<[String; 2]> = names.map(|(plus, minus)| [plus, minus]).collect();
    for pair in &mut pairs {
        pair.sort();
    }
    pairs.sort();
    pairs
}

#[test]
fn the_small_set_is_equal_to_the_expected_mosaic_in_any_order() {
    let Some(data) = data() else { return };
    let expected = data.join("expected/montage_mini");
    let mosaic = bits(&expected.join("mosaic.fits"));
    let mut first = None;
    for order in [None, Some(1), Some(2)] {
        let output = tempfile::tempdir().unwrap();
        let output = output.path();
        let more = json!({
            "img_folder": data.join("montage_mini"),
            "expected": expected.join("stats.jsonl"),
        });
        let local = match order {
            None => Local::new(),
            Some(seed) => Local::new().shuffled(seed),
        };
        let report = passing(local, &config(output, &more));
        let made = bits(&output.join("mosaic.fits"));
        let pixels = made.iter().zip(&mosaic);
        let far = pixels.filter(|&(&a, &b)| !near(f64::from_bits(a), f64::from_bits(b)));
        assert_eq!(
            (made.len(), far.count()),
            (mosaic.len(), 0),
            "order {order:?}"
        );
        assert!(
            *first.get_or_insert_with(|| made.clone()) == made,
            "order {order:?}"
        );

        assert_eq!(*value(&report, "images"), json!(10));
        assert_eq!(*value(&report, "pairs"), json!(17));
        assert_eq!(*value(&report, "pairs_failed"), json!(1));
        assert_eq!(value(&report, "failed_pairs")[0]["kind"], "NoOverlap");
        assert_eq!(*value(&report, "images_uncorrected"), json!(0));
        assert_eq!(*check(&report, "finite_pixels"), json!(281_929));

        let hdr = |directory: &Path| fs::read_to_string(directory.join("Kimages.hdr")).unwrap();
        assert_eq!(hdr(output), hdr(&expected));
        assert_eq!(pairs(output), pairs(&expected));
        assert!(alike(&fits(output), &fits(&expected)));
        let corrections = |directory: &Path| {
            let table = table(directory, "corrections.tbl");
            by_image(&table, &numbered(directory), "id", &["a", "b", "c"])
        };
        assert!(alike(&corrections(output), &corrections(&expected)));
        let images = |directory: &Path| {
            let columns = [
                "naxis1", "naxis2", "crpix1", "crpix2", "crval1", "size", "ra", "dec",
            ];
            by_image(
                &table(directory, "images.tbl"),
                &numbered(directory),
                "cntr",
                &columns,
            )
        };
        assert!(alike(&images(output), &images(&expected)));
    }
}

/// Ten images of 512 x 1024 pixels: a minute.
#[test]
#[ignore = "a minute; run with --ignored"]
fn the_full_set_has_the_expected_statistics() {
    let Some(data) = data() else { return };
    let expected = data.join("expected/montage");
    let output = tempfile::tempdir().unwrap();
    let more = json!({
        "img_folder": data.join("montage"),
        "expected": expected.join("stats.jsonl"),
    });
    let report = passing(Local::new(), &config(output.path(), &more));
    assert_eq!(*check(&report, "finite_pixels"), json!(4_484_108));
    assert_eq!(*value(&report, "pairs_failed"), json!(0));
    assert_eq!(pairs(output.path()), pairs(&expected));
    assert_eq!(fits(output.path()), fits(&expected));
}

#[test]
fn all_files_of_a_run_are_written() {
    if !installed() {
        return;
    }
    let output = tempfile::tempdir().unwrap();
    let more = json!({
        "generated_images": 2, "generated_size": 40, "mosaic_name": "m17", "png_size": 10,
        "img_tbl": "all.tbl",
    });
    let report = passing(Local::new(), &config(output.path(), &more));
    let mut names: Vec<_> = fs::read_dir(output.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "Kimages.hdr",
        "all.tbl",
        "corrections.tbl",
        "diffs.tbl",
        "fits.tbl",
        "images.tbl",
        "m17.fits",
        "m17.png",
        "m17_area.fits",
        "stats.jsonl",
    ];
    assert_eq!(names, expected);
    let lines = fs::read_to_string(output.path().join("stats.jsonl")).unwrap();
    let stats: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(stats["file"], "m17.fits");
    assert_eq!(stats["finite_pixels"], *check(&report, "finite_pixels"));
    assert_eq!(stats["mean"], *value(&report, "mean"));
}

#[test]
fn generated_images_give_the_sky_that_they_show() {
    if !installed() {
        return;
    }
    for seed in 0..3 {
        let output = tempfile::tempdir().unwrap();
        let report = passing(Local::new().seed(seed), &config(output.path(), &json!({})));
        assert_eq!(*value(&report, "images"), json!(9));
        let before = value(&report, "background_difference_before")
            .as_f64()
            .unwrap();
        let after = check(&report, "background_difference").as_f64().unwrap();
        assert!(after < 0.02 * before && before > 5.0, "{before} {after}");
    }
}

/// More images than TaPS can number.
#[test]
fn a_hundred_images_are_no_different() {
    if !installed() {
        return;
    }
    let output = tempfile::tempdir().unwrap();
    let more = json!({ "generated_images": 100, "generated_size": 32 });
    let report = passing(Local::new(), &config(output.path(), &more));
    assert_eq!(*value(&report, "images"), json!(100));
    assert_eq!(*value(&report, "images_uncorrected"), json!(0));
}

#[test]
fn a_mosaic_is_held_against_its_own_sky_only() {
    if !installed() {
        return;
    }
    let survey = |seed| Survey {
        seed,
        images: 4,
        side: 64,
    };
    let folder = tempfile::tempdir().unwrap();
    for image in 0..4 {
        fs::write(
            folder.path().join(Survey::name(image)),
            survey(1).exposure(image),
        )
        .unwrap();
    }
    let output = tempfile::tempdir().unwrap();
    let more = json!({ "img_folder": folder.path() });
    passing(Local::new(), &config(output.path(), &more));
    let mosaic = fs::read(output.path().join("mosaic.fits")).unwrap();
    let own = crate::truth::compare(&mosaic[..], survey(1)).unwrap();
    assert!(
        own.brightness_error < crate::truth::LARGEST_ERROR,
        "{own:?}"
    );
    let other = crate::truth::compare(&mosaic[..], survey(2)).unwrap();
    assert!(
        other.brightness_error > crate::truth::LARGEST_ERROR,
        "{other:?}"
    );
}

#[test]
fn the_other_projector_gives_nearly_the_same() {
    if !installed() {
        return;
    }
    let mosaics = ["mProject", "mProjectPP"].map(|project| {
        let output = tempfile::tempdir().unwrap();
        let more = json!({ "generated_images": 4, "project": project });
        let report = passing(Local::new(), &config(output.path(), &more));
        value(&report, "mean").as_f64().unwrap()
    });
    assert!((mosaics[0] - mosaics[1]).abs() < 0.05, "{mosaics:?}");
    assert!(
        mosaics[0].to_bits() != mosaics[1].to_bits(),
        "the option has an effect"
    );
}

#[test]
fn one_image_is_a_mosaic_of_itself() {
    if !installed() {
        return;
    }
    let output = tempfile::tempdir().unwrap();
    let more = json!({ "generated_images": 1, "generated_size": 96 });
    let report = passing(Local::new(), &config(output.path(), &more));
    assert_eq!(*value(&report, "pairs"), json!(0));
    assert_eq!(*value(&report, "images_uncorrected"), json!(1));
}

#[test]
fn tasks_have_the_names_and_numbers_of_taps() {
    if !installed() {
        return;
    }
    let output = tempfile::tempdir().unwrap();
    let config = config(output.path(), &json!({ "generated_images": 4 }));
    let (report, trace) = Local::new().trace(|engine| (APP.run)(&config, engine));
    let report = report.unwrap();
    let pairs = value(&report, "pairs").as_u64().unwrap();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, _) in &trace.finished {
        *counts.entry(name).or_default() += 1;
    }
    let expected = [
        ("bgexec_prep", 1),
        ("compare_with_sky", 1),
        ("generate_image", 4),
        ("image_summary", 2),
        ("madd", 1),
        ("mbackground", 4),
        ("mdiff", pairs),
        ("mimgtbl", 1),
        ("mmakehdr", 1),
        ("moverlaps", 1),
        ("mproject", 4),
    ];
    assert_eq!(counts, BTreeMap::from(expected));
}

#[test]
fn a_difference_does_not_wait_for_all_projections() {
    if !installed() {
        return;
    }
    let output = tempfile::tempdir().unwrap();
    let config = config(output.path(), &json!({ "generated_images": 4 }));
    for seed in 0..20 {
        let local = Local::new().shuffled(seed);
        let (report, trace) = local.trace(|engine| (APP.run)(&config, engine));
        assert!(report.unwrap().passed());
        let names: Vec<_> = trace.finished.iter().map(|(name, _)| *name).collect();
        let first = names.iter().position(|name| *name == "mdiff");
        let last = names.iter().rposition(|name| *name == "mproject");
        if first < last {
            return;
        }
    }
    panic!("in no order a difference came before the last projection");
}

#[test]
fn every_program_that_is_run_is_on_the_list() {
    let needs = APP.describe();
    let listed: Vec<String> = needs
        .programs
        .iter()
        .map(|need| need.name.clone())
        .collect();
    assert_eq!(listed.len(), PROGRAMS.len());
    for task in &needs.tasks {
        for program in &task.programs {
            assert!(listed.contains(program), "{program} of {}", task.name);
        }
    }
}

#[test]
fn statistics_that_differ_fail_the_check() {
    if !installed() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("first");
    let base = json!({ "generated_images": 2 });
    passing(Local::new(), &config(&output, &base));
    let stats = output.join("stats.jsonl");
    let again = json!({ "generated_images": 2, "expected": &stats });
    passing(
        Local::new(),
        &config(&directory.path().join("second"), &again),
    );

    let text = fs::read_to_string(&stats).unwrap();
    let changed = text.replacen("\"naxis1\":", "\"naxis1\":1", 1);
    fs::write(&stats, changed).unwrap();
    let report = Local::new()
        .run_app(&APP, &config(&output, &again))
        .unwrap();
    assert!(!report.passed());
    assert_eq!(*check(&report, "expected_pixels"), json!(1));
}
