//! Mosaics, with Montage's programs confined: of generated images and of real ones.

use crate::harness::{self, Ended, Place, data, names, run_dir, tasks};
use serde_json::Value;
use std::{fs, path::Path};

const EXECUTIONS: [&[&str]; 4] = [
    &["--executor.max-threads=1"],
    &["--executor.max-threads=4"],
    &["--executor=process-pool", "--executor.max-processes=2"],
    &["--executor=native"],
];

const FILES: [&str; 9] = [
    "Kimages.hdr",
    "Kimages.tbl",
    "corrections.tbl",
    "diffs.tbl",
    "fits.tbl",
    "images.tbl",
    "mosaic.fits",
    "mosaic.png",
    "mosaic_area.fits",
];

/// What the app needs.
fn installed() -> bool {
    harness::installed(&["mAdd", "mProject"])
}

/// The output directory of a run, which lies below its run directory.
fn output(json: &Value) -> std::path::PathBuf {
    run_dir(json).join("data")
}

#[track_caller]
fn run(place: &Place, args: &[&str]) -> Value {
    let (ended, json) = place.json(&[&["montage"], args].concat());
    ended.expect(0);
    json
}

/// What all executions must have in common.
#[track_caller]
fn equal_results(args: &[&str]) -> Vec<(Place, Value)> {
    let runs: Vec<(Place, Value)> = EXECUTIONS
        .iter()
        .map(|execution| {
            let place = Place::new();
            let json = run(&place, &[args, *execution].concat());
            (place, json)
        })
        .collect();
    let first = &runs[0].1;
    for ((_, json), execution) in runs.iter().zip(EXECUTIONS) {
        assert_eq!(json["values"], first["values"], "{execution:?}");
        for file in FILES {
            let read = |json| fs::read(output(json).join(file)).expect(file);
            assert!(read(json) == read(first), "{file} of {execution:?}");
        }
    }
    runs
}

#[test]
fn generated_images_give_the_same_mosaic_everywhere() {
    if !installed() {
        return;
    }
    let runs = equal_results(&["--app.generated-images=4", "--app.generated-size=40"]);
    let (_, json) = &runs[0];
    let records = tasks(&run_dir(json));
    let count = |name: &str| {
        let named = |task: &&Value| task["name"] == name;
        records.iter().filter(named).count()
    };
    let counts = [
        "mproject",
        "mbackground",
        "mimgtbl",
        "moverlaps",
        "bgexec_prep",
        "madd",
    ];
    assert_eq!(counts.map(count), [4, 4, 1, 1, 1, 1]);
    assert_eq!(json["values"]["pairs"], count("mdiff"), "{json}");
    let mut files = FILES.to_vec();
    files.push("stats.jsonl");
    assert_eq!(names(&output(json)), files);
}

#[test]
fn real_images_give_the_expected_mosaic() {
    let Some(data) = data().filter(|_| installed()) else {
        return;
    };
    let expected = data.join("expected/montage_mini");
    let stats = expected.join("stats.jsonl");
    let images = data.join("montage_mini");
    let runs = equal_results(&[
        "--app.img-folder",
        images.to_str().expect("UTF-8"),
        "--app.expected",
        stats.to_str().expect("UTF-8"),
    ]);
    let (_, json) = &runs[0];
    let mosaic = |directory: &Path| {
        let bytes = fs::read(directory.join("mosaic.fits")).expect("a mosaic");
        // The header, whose comments are nobody's, has one block.
        let numbers = bytes[2880..].chunks_exact(8);
        let number = |bytes: &[u8]| f64::from_be_bytes(bytes.try_into().expect("8 bytes"));
        numbers.map(number).collect::<Vec<f64>>()
    };
    let (made, expected) = (mosaic(&output(json)), mosaic(&expected));
    // Arithmetic of another processor can differ in the last digits.
    let near =
        |a: f64, b: f64| (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 * b.abs().max(1e-3);
    let far = made.iter().zip(&expected).filter(|&(&a, &b)| !near(a, b));
    assert_eq!(
        (made.len(), far.count()),
        (expected.len(), 0),
        "every pixel"
    );
    assert_eq!(json["values"]["pairs"], 17);
    let failed = &json["values"]["failed_pairs"];
    assert_eq!(failed[0]["kind"], "NoOverlap", "{failed}");
    assert_eq!(failed.as_array().map(Vec::len), Some(1), "{failed}");
}

/// The small images under other names: the order of the files is another.
#[test]
fn the_order_of_the_images_does_not_matter() {
    let Some(data) = data().filter(|_| installed()) else {
        return;
    };
    let place = Place::new();
    let mut images = names(&data.join("montage_mini"));
    images.reverse();
    for (number, image) in images.iter().enumerate() {
        let bytes = fs::read(data.join("montage_mini").join(image)).expect("an image");
        place.write(&format!("images/{number}.fits"), bytes);
    }
    let stats = data.join("expected/montage_mini/stats.jsonl");
    let json = run(
        &place,
        &[
            "--app.img-folder=images",
            "--app.expected",
            stats.to_str().expect("UTF-8"),
            "--app.mosaic-name=m17",
        ],
    );
    let mosaic = fs::read(output(&json).join("m17.fits")).expect("a mosaic");
    let expected = data.join("expected/montage_mini/mosaic.fits");
    let expected = fs::read(expected).expect("the expected mosaic");
    assert!(mosaic[2880..] == expected[2880..], "every pixel");
}

/// A small FITS image without a place in the sky.
fn lost_image() -> Vec<u8> {
    let cards = [
        "SIMPLE  =                    T",
        "BITPIX  =                  -32",
        "NAXIS   =                    2",
        "NAXIS1  =                    8",
        "NAXIS2  =                    8",
        "END",
    ];
    let mut bytes: Vec<u8> = cards
        .iter()
        .flat_map(|card| format!("{card:<80}").into_bytes())
        .collect();
    bytes.resize(2880, b' ');
    bytes.resize(2 * 2880, 0);
    bytes
}

#[track_caller]
fn refused(place: &Place, code: i32, text: &str) -> Ended {
    let ended = place.run(&["montage", "--app.img-folder=images"]);
    ended.expect(code).says(text);
    ended
}

#[test]
fn bad_images_are_named() {
    if !installed() {
        return;
    }
    let place = Place::new();
    place.write("images/notes.txt", "no image");
    refused(&place, 2, "at least one FITS file");
    place.write("images/a.fits", "SIMPLE  = ");
    refused(&place, 1, "a.fits: it ends within its header");
    place.write("images/a.fits", "hello");
    refused(&place, 1, "a.fits: it does not begin with `SIMPLE  =`");
    place.write("images/a.fits", &lost_image()[..2890]);
    refused(&place, 1, "a.fits: 2890 bytes, but 8 x 8 pixels need 3136");
    place.write("images/a.fits", lost_image());
    refused(&place, 1, "BadFits");
}
