//! Input that is wrong: each is an error that says what and where.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use taps::testing::Local;
use taps::{Error, Report};

use super::app::{config, installed, value};
use crate::APP;
use crate::expected::Expected;
use crate::statistics::Statistics;
use crate::synthetic::Survey;

fn run(folder: &Path, more: &Value) -> taps::Result<Report> {
    let output = tempfile::tempdir().unwrap();
    let mut more = more.clone();
    more["img_folder"] = json!(folder);
    Local::new().run_app(&APP, &config(output.path(), &more))
}

/// A folder with the images of a small survey.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let survey = Survey {
        seed: 4,
        images: 4,
        side: 40,
    };
    for image in 0..4 {
        fs::write(
            folder.path().join(Survey::name(image)),
            survey.exposure(image),
        )
        .unwrap();
    }
    folder
}

fn config_error(result: taps::Result<Report>) -> (String, String) {
    match result {
        Err(Error::Config {
            field, expected, ..
        }) => (field, expected),
        other => panic!("{other:?}"),
    }
}

fn error(result: taps::Result<Report>) -> (String, String) {
    let error = result.unwrap_err();
    (error.kind().to_owned(), error.to_string())
}

#[test]
fn a_folder_without_images() {
    let empty = tempfile::tempdir().unwrap();
    fs::write(empty.path().join("notes.txt"), "x").unwrap();
    fs::write(empty.path().join("._hidden.fits"), "x").unwrap();
    let expected = "a directory with at least one FITS file (*.fits, *.fit)";
    let found = config_error(run(empty.path(), &json!({})));
    assert_eq!(found, ("img_folder".to_owned(), expected.to_owned()));
    let (field, text) = config_error(run(&empty.path().join("missing"), &json!({})));
    assert_eq!(field, "img_folder");
    assert!(text.contains("No such file"), "{text}");
}

#[test]
fn a_truncated_image_is_named_before_any_program_runs() {
    let folder = folder();
    let path = folder.path().join(Survey::name(1));
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..5000]).unwrap();
    let (kind, text) = error(run(folder.path(), &json!({})));
    assert_eq!(kind, "TruncatedFits");
    let expected = "exposure-000001.fits: 5000 bytes, but 40 x 40 pixels need 9280; hint: fetch it \
                    again, remove it, or set bad_images = skip";
    assert_eq!(text, expected);
}

#[test]
fn a_file_that_is_no_image_is_named() {
    let folder = folder();
    fs::write(folder.path().join("a.fits"), "hello").unwrap();
    let (kind, text) = error(run(folder.path(), &json!({})));
    assert_eq!(kind, "BadFits");
    assert!(
        text.starts_with("a.fits: it does not begin with `SIMPLE  =`"),
        "{text}"
    );
}

#[test]
fn bad_images_can_be_left_out() {
    if !installed() {
        return;
    }
    let folder = folder();
    fs::write(folder.path().join("a.fits"), "hello").unwrap();
    // A header that only Montage finds fault with: an image without a place in the sky.
    let lost = crate::fits::Writer::new(4, 4).finish([0.0; 16]);
    fs::write(folder.path().join("b.fits"), lost).unwrap();
    fs::write(folder.path().join("c.fits"), [0x1f, 0x8b, 0, 0]).unwrap();
    let report = run(folder.path(), &json!({ "bad_images": "skip" })).unwrap();
    assert!(report.passed(), "{report:?}");
    assert_eq!(*value(&report, "images"), json!(4));
    assert_eq!(*value(&report, "images_left_out"), json!(3));

    fs::remove_file(folder.path().join("a.fits")).unwrap();
    let (kind, text) = error(run(folder.path(), &json!({})));
    assert_eq!(kind, "BadFits");
    assert!(text.contains("\"b.fits\", \"c.fits\""), "{text}");
}

#[test]
fn nothing_but_bad_images() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.fits"), "hello").unwrap();
    let (field, _) = config_error(run(folder.path(), &json!({ "bad_images": "skip" })));
    assert_eq!(field, "img_folder");
}

#[test]
fn images_that_do_not_overlap() {
    if !installed() {
        return;
    }
    // The corners of a wide survey.
    let folder = tempfile::tempdir().unwrap();
    let survey = Survey {
        seed: 4,
        images: 9,
        side: 40,
    };
    for image in [0, 8] {
        fs::write(
            folder.path().join(Survey::name(image)),
            survey.exposure(image),
        )
        .unwrap();
    }
    let (kind, text) = error(run(folder.path(), &json!({})));
    assert_eq!(kind, "NoOverlap");
    assert!(
        text.starts_with("no two of the 2 images have a pixel in common"),
        "{text}"
    );
    let report = run(folder.path(), &json!({ "failed_pairs": "tolerate" })).unwrap();
    assert!(report.passed(), "{report:?}");
    assert_eq!(*value(&report, "images_uncorrected"), json!(2));
}

#[test]
fn one_image_apart_gets_no_correction() {
    if !installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let survey = Survey {
        seed: 4,
        images: 16,
        side: 40,
    };
    for image in [0, 1, 15] {
        fs::write(
            folder.path().join(Survey::name(image)),
            survey.exposure(image),
        )
        .unwrap();
    }
    let report = run(folder.path(), &json!({})).unwrap();
    assert!(report.passed(), "{report:?}");
    assert_eq!(*value(&report, "images_uncorrected"), json!(1));
}

#[test]
fn a_failed_pair_ends_the_run_if_that_is_asked() {
    let Some(data) = std::env::var_os("TAPS_WASM_DATA").filter(|_| installed()) else {
        return;
    };
    let folder = Path::new(&data).join("montage_mini");
    let (kind, text) = error(run(&folder, &json!({ "failed_pairs": "fail" })));
    assert_eq!(kind, "NoOverlap");
    assert!(text.contains("All pixels are blank."), "{text}");
}

#[test]
fn names_that_the_programs_cannot_take() {
    if !installed() {
        return;
    }
    let folder = folder();
    let names = [
        format!("{}.fits", "l".repeat(240)),
        "a b'c;.FITS".to_owned(),
        "é.fit".to_owned(),
    ];
    for (image, name) in names.iter().enumerate() {
        let image = Survey::name(image as u32);
        fs::rename(folder.path().join(image), folder.path().join(name)).unwrap();
    }
    // Not an area image, though its name says so: there is no image that it could belong to.
    fs::rename(
        folder.path().join(Survey::name(3)),
        folder.path().join("x_area.fits"),
    )
    .unwrap();
    let report = run(folder.path(), &json!({})).unwrap();
    assert!(report.passed(), "{report:?}");
    assert_eq!(*value(&report, "images"), json!(4));
}

#[test]
fn names_of_files_are_checked() {
    let output = tempfile::tempdir().unwrap();
    for (field, value) in [
        ("img_tbl", ""),
        ("img_tbl", "a/b"),
        ("img_hdr", "images.tbl"),
        ("img_hdr", "Kimages.tbl"),
        ("mosaic_name", "../m"),
        ("mosaic_name", ".m"),
    ] {
        let mut config = config(output.path(), &json!({}));
        config[field] = json!(value);
        let (name, _) = config_error(Local::new().run_app(&APP, &config));
        assert_eq!(name, field, "{value}");
    }
}

#[test]
fn expected_statistics_are_checked_before_any_work() {
    let output = tempfile::tempdir().unwrap();
    let file = output.path().join("stats.jsonl");
    for (text, what) in [
        ("", "no line of a mosaic"),
        ("{}\n", "line 1: no text `file`"),
        ("\nx\n", "line 2: expected value"),
        (
            "{\"file\":\"a.fits\"}\n{\"file\":\"b.fits\"}\n",
            "line 2: a second such image",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let config = config(output.path(), &json!({ "expected": file }));
        let (field, expected) = config_error(Local::new().run_app(&APP, &config));
        assert_eq!(field, "expected");
        assert!(expected.contains(what), "{expected}");
    }
}

#[test]
fn a_difference_of_statistics_is_relative() {
    let line = "{\"file\":\"m.fits\",\"mean\":100.0,\"finite_pixels\":3,\"min\":null}";
    let expected = Expected::parse(line).unwrap();
    let found = Statistics {
        finite: 4,
        mean: Some(100.01),
        ..Statistics::default()
    };
    let difference = expected.compare(&found, &Statistics::default());
    assert_eq!(difference.counts, 1);
    assert!((difference.relative - 1e-4).abs() < 1e-9);
    let none = Statistics::default();
    assert!(
        expected.compare(&none, &none).relative.is_infinite(),
        "no mean at all"
    );
}

#[test]
fn a_folder_of_nothing_that_montage_takes_for_an_image() {
    if !installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let lost = crate::fits::Writer::new(4, 4).finish([0.0; 16]);
    fs::write(folder.path().join("b.fits"), lost).unwrap();
    for bad_images in ["fail", "skip"] {
        let (kind, text) = error(run(folder.path(), &json!({ "bad_images": bad_images })));
        assert_eq!(kind, "BadFits");
        assert!(text.contains("\"b.fits\""), "{text}");
    }
}
