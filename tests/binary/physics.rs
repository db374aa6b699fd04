//! Balls on a terrain: the same everywhere to the bit, and what cannot be simulated is refused.

use crate::harness::{Place, names, run_dir, snapshot, tasks};
use serde_json::Value;
use std::{fs, path::Path};

const SMALL: [&str; 6] = [
    "physics",
    "--app.simulations=6",
    "--app.total-time=1.5",
    "--app.terrain-width=10",
    "--app.terrain-resolution=6",
    "--app.terrain-scale=4",
];

const EXECUTIONS: [&[&str]; 6] = [
    &["--executor.max-threads=1"],
    &["--executor.max-threads=2"],
    &["--executor.max-threads=5"],
    &["--executor=process-pool", "--executor.max-processes=1"],
    &["--executor=process-pool", "--executor.max-processes=3"],
    &["--executor=native"],
];

#[track_caller]
fn run(place: &Place, args: &[&str]) -> Value {
    let (ended, json) = place.json(&[&SMALL[..], args].concat());
    ended.expect(0);
    json
}

/// Everything that the app wrote: name and bytes.
#[track_caller]
fn written(run: &Path) -> Vec<(String, Vec<u8>)> {
    let images = run.join("images");
    let read = |name: String| {
        let bytes = fs::read(images.join(&name)).expect("read a file");
        (name, bytes)
    };
    names(&images).into_iter().map(read).collect()
}

/// Width and height from the header of a PNG.
#[track_caller]
fn size(png: &[u8]) -> (u32, u32) {
    assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
    assert_eq!(png[12..16], *b"IHDR");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("4 bytes"));
    (number(16), number(20))
}

#[test]
fn the_same_bits_on_every_executor() {
    let place = Place::new();
    let first = run(&place, &[&["--seed=11"], EXECUTIONS[0]].concat());
    let files = written(&run_dir(&first));
    let found: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(found, ["contour.png", "positions.csv", "terrain.png"]);
    for image in [0, 2] {
        assert_eq!(size(&files[image].1), (900, 760), "{}", files[image].0);
    }
    let positions = String::from_utf8(files[1].1.clone()).expect("UTF-8");
    assert_eq!(positions.lines().count(), 7, "{positions}");
    for execution in &EXECUTIONS[1..] {
        let json = run(&place, &[&["--seed=11"], *execution].concat());
        assert_eq!(json["values"], first["values"], "{execution:?}");
        assert!(
            written(&run_dir(&json)) == files,
            "{execution:?}: other files"
        );
    }
}

#[test]
fn another_seed_is_another_world() {
    let place = Place::new();
    let digest = |args: &[&str]| run(&place, args)["values"]["sha256"].clone();
    let first = digest(&["--app.seed=1"]);
    assert_eq!(first, digest(&["--app.seed=1", "--seed=9"]));
    assert_ne!(first, digest(&["--app.seed=2"]));
}

/// The terrain is made once, and no task carries it along: of its 14,400 bytes, `simulate` gets a
/// reference.
#[test]
fn the_terrain_travels_by_reference() {
    let place = Place::new();
    let json = run(&place, &[]);
    let tasks = tasks(&run_dir(&json));
    let named = |name: &str| tasks.iter().filter(|task| task["name"] == name).count();
    assert_eq!(
        ["make_terrain", "simulate", "render"].map(named),
        [1, 6, 1],
        "{tasks:?}"
    );
    let maker = tasks.iter().find(|task| task["name"] == "make_terrain");
    let maker = &maker.expect("a terrain")["task_id"];
    for task in tasks.iter().filter(|task| task["name"] == "simulate") {
        let parents = task["parent_task_ids"].as_array().expect("parents");
        assert!(parents.contains(maker), "{task}");
    }
}

#[test]
fn real_time_waits() {
    let place = Place::new();
    let args = ["--app.total-time=0.7", "--app.real-time=true"];
    let (ended, json) = place.json(&[&SMALL[..], &args].concat());
    ended.expect(0);
    assert!(ended.elapsed.as_secs_f64() > 0.69);
    let plain = run(&place, &["--app.total-time=0.7"]);
    assert_eq!(plain["values"]["sha256"], json["values"]["sha256"]);
}

/// What is said of a configuration that cannot be simulated.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let place = Place::new();
    let ended = place.run(&[&["physics"], args].concat());
    ended.expect(2);
    let text = ended.text();
    text[text.find("error: ").expect("an error")..].to_owned()
}

#[test]
fn what_cannot_be_simulated_is_refused_by_field() {
    snapshot!("no_vertices", refused(&["--app.terrain-resolution=0"]));
    snapshot!(
        "one_vertex",
        refused(&["--app.terrain-width=1", "--app.terrain-resolution=1"])
    );
    snapshot!("too_many_vertices", refused(&["--app.terrain-width=2001"]));
    snapshot!("negative_mass", refused(&["--app.ball-mass=-1"]));
    snapshot!("large_ball", refused(&["--app.ball-diameter=12"]));
    snapshot!("no_balls", refused(&["--app.simulations=0"]));
    snapshot!(
        "endless",
        refused(&["--app.total-time=1000000", "--app.tick-rate=100000"])
    );
    snapshot!(
        "fine_noise",
        refused(&["--app.terrain-octaves=16", "--app.terrain-lacunarity=50"])
    );
}

/// The largest terrain that is accepted can also be made, simulated on and drawn.
#[test]
fn the_largest_terrain() {
    let place = Place::new();
    let args = [
        "physics",
        "--app.simulations=1",
        "--app.total-time=0.1",
        "--app.terrain-width=200",
    ];
    let (ended, json) = place.json(&args);
    ended.expect(0);
    assert_eq!(json["values"]["vertices"], 4_000_000, "{json}");
}
