//! The whole app on the host, without a sandbox.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};
use taps::testing::Local;

use super::*;
use crate::simulation::Settings;
use crate::terrain::Shape;

/// Runs the app on a small configuration with these fields changed, and reads what it wrote.
fn run_app(changes: &Value) -> (Result<Report>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let config = configuration(changes, directory.path());
    (Local::new().run_app(&APP, &config), directory)
}

fn configuration(changes: &Value, directory: &Path) -> Value {
    let mut config = json!({
        "simulations": 4,
        "total_time": 2,
        "terrain_width": 10,
        "terrain_resolution": 5,
        "seed": 7,
        "output_dir": directory,
    });
    for (field, value) in changes.as_object().unwrap() {
        config[field] = value.clone();
    }
    config
}

#[track_caller]
fn report(changes: &Value) -> (Report, tempfile::TempDir) {
    let (result, directory) = run_app(changes);
    (result.unwrap(), directory)
}

#[track_caller]
fn passed(changes: &Value) -> Report {
    let (report, _) = report(changes);
    assert!(report.passed(), "{changes}: {:?}", report.checks);
    report
}

/// The message with which a configuration is refused.
#[track_caller]
fn refused(changes: &Value) -> String {
    run_app(changes).0.unwrap_err().to_string()
}

fn value(report: &Report, name: &str) -> Value {
    let named = report.values.iter().find(|(found, _)| found == name);
    named.unwrap().1.clone()
}

fn shape() -> Shape {
    Shape {
        seed: 3,
        side: 60,
        resolution: 6,
        height: 3.0,
        scale: 4.0,
        octaves: 3,
        persistence: 0.2,
        lacunarity: 2.0,
        filter_size: 2.0,
    }
}

fn settings() -> Settings {
    Settings {
        diameter: 0.2,
        mass: 0.05,
        tick_rate: 240,
        steps: 2400,
        real_time: false,
        resolution: 10,
    }
}

/// A slope that rises with x: `rise` metres per metre, 100 x 100 vertices, 10 a metre.
fn slope(rise: f64) -> Array<f32> {
    Array::from_fn_2d(100, 100, |_, column| (column as f64 * 0.1 * rise) as f32)
}

fn still(x: f64, y: f64, z: f64) -> Start {
    Start {
        position: [x, y, z],
        velocity: [0.0; 3],
    }
}

#[test]
fn checks_pass_for_terrains_and_balls_of_many_kinds() {
    for changes in [
        json!({}),
        json!({ "simulations": 1 }),
        json!({ "total_time": 0 }),
        json!({ "terrain_height": 0 }),
        json!({ "terrain_height": 8, "terrain_width": 6 }),
        json!({ "terrain_filter_size": 0, "terrain_scale": 1.5 }),
        json!({ "terrain_octaves": 6, "terrain_persistence": 0.6 }),
        json!({ "terrain_width": 1, "terrain_resolution": 3, "terrain_scale": 0.9 }),
        json!({ "ball_diameter": 1.0 }),
        json!({ "ball_diameter": 0.05, "ball_mass": 0.001 }),
        json!({ "ball_mass": 1000 }),
        json!({ "tick_rate": 60 }),
        json!({ "tick_rate": 1000 }),
        json!({ "total_time": 20, "terrain_height": 5 }),
    ] {
        passed(&changes);
    }
}

#[test]
fn seeds_and_orders() {
    let positions = |seed: u64, order: u64| {
        let directory = tempfile::tempdir().unwrap();
        let config = configuration(&json!({ "seed": seed }), directory.path());
        let report = Local::new()
            .seed(order)
            .shuffled(order)
            .run_app(&APP, &config);
        assert!(report.unwrap().passed());
        std::fs::read_to_string(directory.path().join(output::TABLE)).unwrap()
    };
    let first = positions(1, 1);
    assert_eq!(first, positions(1, 2), "the order of tasks does not matter");
    assert_ne!(first, positions(2, 1));
    assert_eq!(first.lines().count(), 5, "{first}");
}

/// A ball's start follows from its number, not from how many there are.
#[test]
fn more_balls_leave_the_others_as_they_are() {
    let table = |simulations: u32| {
        let (_, directory) = report(&json!({ "simulations": simulations }));
        std::fs::read_to_string(directory.path().join(output::TABLE)).unwrap()
    };
    let (few, many) = (table(2), table(5));
    assert!(many.starts_with(&few), "{few}\n{many}");
}

#[test]
fn without_a_seed_that_of_the_run_is_taken() {
    let digest = |seed: u64| {
        let directory = tempfile::tempdir().unwrap();
        let config = configuration(&json!({ "seed": null }), directory.path());
        let report = Local::new().seed(seed).run_app(&APP, &config).unwrap();
        value(&report, "sha256")
    };
    assert_eq!(digest(5), digest(5));
    assert_ne!(digest(5), digest(6));
}

/// TaPS divides by the highest height instead of the range, and makes 5 m of 3.
#[test]
fn terrain_is_as_high_as_asked() {
    for height in [0.5, 3.0, 40.0] {
        let terrain = make_terrain(Shape { height, ..shape() }).unwrap();
        let heights = terrain.as_slice();
        assert!(heights.contains(&0.0) && heights.contains(&(height as f32)));
        assert!(heights.iter().all(|at| (0.0..=height as f32).contains(at)));
    }
}

/// Every parameter of the terrain changes it.
#[test]
fn parameters_of_the_terrain_have_effect() {
    let make = |shape| make_terrain(shape).unwrap();
    let plain = make(shape());
    for changed in [
        Shape { seed: 4, ..shape() },
        Shape {
            resolution: 7,
            ..shape()
        },
        Shape {
            height: 2.0,
            ..shape()
        },
        Shape {
            scale: 5.0,
            ..shape()
        },
        Shape {
            octaves: 2,
            ..shape()
        },
        Shape {
            persistence: 0.3,
            ..shape()
        },
        Shape {
            lacunarity: 2.5,
            ..shape()
        },
        Shape {
            filter_size: 1.0,
            ..shape()
        },
    ] {
        assert_ne!(plain, make(changed), "{changed:?}");
    }
}

fn roughness(terrain: &Array<f32>) -> f32 {
    let rows = (0..terrain.rows()).map(|row| terrain.row(row));
    rows.flat_map(|row| row.windows(2))
        .map(|pair| (pair[1] - pair[0]).abs())
        .sum()
}

#[test]
fn scale_and_filter_smooth_the_terrain() {
    let rough = |shape| roughness(&make_terrain(shape).unwrap());
    assert!(
        rough(Shape {
            scale: 8.0,
            ..shape()
        }) < rough(Shape {
            scale: 2.0,
            ..shape()
        })
    );
    let unfiltered = Shape {
        filter_size: 0.0,
        octaves: 6,
        persistence: 0.7,
        ..shape()
    };
    let filtered = Shape {
        filter_size: 3.0,
        ..unfiltered
    };
    assert!(rough(filtered) < 0.7 * rough(unfiltered));
}

/// What the filter leaves of a gentle slope cannot be stretched: it is rounding.
#[test]
fn a_terrain_without_shape_is_refused() {
    let (result, _) = run_app(&json!({ "terrain_filter_size": 100, "terrain_scale": 1e6 }));
    let message = result.unwrap_err().to_string();
    for part in ["terrain_height = 3", "terrain_scale", "terrain_filter_size"] {
        assert!(message.contains(part), "{message}");
    }
    let gentle = Shape {
        octaves: 1,
        scale: 1e4,
        filter_size: 0.0,
        ..shape()
    };
    assert!(make_terrain(gentle).is_ok());
}

#[test]
fn heights_between_vertices_are_those_of_the_triangles() {
    let terrain = Array::<f32>::from_fn(&[2, 2], |at| [0.0, 1.0, 2.0, 7.0][at]);
    let at = |x, y| height_at(&terrain, 2, x, y);
    for ((x, y), height) in [
        ((0.0, 0.0), 0.0),
        ((0.5, 0.0), 1.0),
        ((0.0, 0.5), 2.0),
        ((0.5, 0.5), 7.0),
        ((0.25, 0.25), 1.5),
        ((0.125, 0.125), 0.75),
        ((0.375, 0.375), 4.25),
        ((-1.0, -1.0), 0.0),
        ((9.0, 9.0), 7.0),
    ] {
        let found: f64 = at(x, y);
        assert!((found - height).abs() < 1e-9, "({x}, {y}): {found}");
    }
}

/// The ground that rapier collides with is the one that positions are checked against.
#[test]
fn a_ball_lies_on_the_terrain_where_it_is_checked() {
    let valley = Array::<f32>::from_fn_2d(100, 100, |row, column| {
        let (x, y) = (column as f32 * 0.1 - 6.0, row as f32 * 0.1 - 3.0);
        0.5 * (x * x + y * y)
    });
    let end = simulate(&valley, still(5.5, 3.5, 2.0), settings());
    let [x, y, z] = end.position;
    assert!((x - 6.0).abs() < 0.2 && (y - 3.0).abs() < 0.2, "{end:?}");
    assert!(
        (z - 0.1 - height_at(&valley, 10, x, y)).abs() < 0.01,
        "{end:?}"
    );
}

/// Without rotation and with friction μ, a ball slides down a slope of angle a with
/// g (sin a - μ cos a), less what the air takes.
#[test]
fn small_balls_slide_as_coulomb_says() {
    let seconds = 1.5;
    for rise in [0.05, 0.2, 0.5] {
        let angle = f64::atan(rise);
        let height = 8.0 * rise + 0.1 / angle.cos();
        let settings = Settings {
            steps: (seconds * 240.0) as u64,
            ..settings()
        };
        let end = simulate(&slope(rise), still(8.0, 5.0, height), settings);
        let pull = GRAVITY * (angle.sin() - 0.1 * angle.cos()).max(0.0);
        let slid = 0.5 * pull * seconds * seconds * angle.cos();
        let found = 8.0 - end.position[0];
        assert!(
            (found - slid).abs() < 0.03 + 0.05 * slid,
            "{rise}: {found} instead of {slid}"
        );
    }
}

/// A ball too large to be locked rolls: 5/7 of the pull of gravity, less the torque.
#[test]
fn large_balls_roll() {
    let (seconds, radius) = (1.0, 0.4);
    let rise = 0.15;
    let angle = f64::atan(rise);
    let settings = Settings {
        diameter: 2.0 * radius,
        mass: 3.0,
        steps: 240,
        ..settings()
    };
    let height = 8.0 * rise + radius / angle.cos();
    let end = simulate(&slope(rise), still(8.0, 5.0, height), settings);
    let pull = GRAVITY * (angle.sin() - 0.025 / radius * angle.cos()) / 1.4;
    let rolled = 0.5 * pull * seconds * seconds * angle.cos();
    let found = 8.0 - end.position[0];
    assert!(
        (found - rolled).abs() < 0.15 * rolled,
        "{found} instead of {rolled}"
    );
}

/// In free fall, only the air acts: about g t² / 2.
#[test]
fn balls_fall_by_gravity() {
    let settings = Settings {
        steps: 240,
        ..settings()
    };
    let end = simulate(&slope(0.0), still(5.0, 5.0, 50.0), settings);
    let fallen = 50.0 - end.position[2];
    assert!((fallen - GRAVITY / 2.0).abs() < 0.1, "{fallen}");
    assert!(end.energy_rise < 1e-4, "{end:?}");
}

/// The walls hold: a ball thrown at each of them stays inside.
#[test]
fn no_ball_leaves() {
    for (vx, vy) in [
        (30.0, 0.0),
        (-30.0, 0.0),
        (0.0, 30.0),
        (0.0, -30.0),
        (25.0, 25.0),
    ] {
        let start = Start {
            position: [5.0, 5.0, 3.0],
            velocity: [vx, vy, 0.0],
        };
        for tick_rate in [10, 60, 240] {
            let steps = 5 * u64::from(tick_rate);
            let end = simulate(
                &slope(0.1),
                start,
                Settings {
                    tick_rate,
                    steps,
                    ..settings()
                },
            );
            let [x, y, z] = end.position;
            let inside = |place: f64| (0.09..=9.81).contains(&place);
            assert!(
                inside(x) && inside(y) && z > 0.09,
                "{tick_rate}: {start:?} {end:?}"
            );
        }
    }
}

#[test]
fn real_time_takes_its_time_and_changes_nothing() {
    let start = std::time::Instant::now();
    let timed = passed(&json!({ "real_time": true, "total_time": 0.4, "simulations": 1 }));
    assert!(start.elapsed().as_secs_f64() > 0.39);
    let plain = passed(&json!({ "total_time": 0.4, "simulations": 1 }));
    assert_eq!(value(&timed, "sha256"), value(&plain, "sha256"));
}

#[test]
fn images_are_written() {
    let (_, directory) = report(&json!({}));
    for name in [output::CONTOUR, output::TERRAIN] {
        let file = std::fs::File::open(directory.path().join(name)).unwrap();
        let reader = png::Decoder::new(std::io::BufReader::new(file))
            .read_info()
            .unwrap();
        let size = (reader.info().width, reader.info().height);
        assert_eq!(
            size,
            (taps_plot::SURFACE_WIDTH, taps_plot::SURFACE_HEIGHT),
            "{name}"
        );
    }
}

#[test]
fn bad_configurations_name_the_field() {
    for (changes, field) in [
        (
            json!({ "terrain_width": 1, "terrain_resolution": 1 }),
            "terrain_resolution",
        ),
        (
            json!({ "terrain_width": 2000, "terrain_resolution": 10 }),
            "terrain_resolution",
        ),
        (json!({ "terrain_resolution": 0 }), "terrain_resolution"),
        (json!({ "terrain_width": 0 }), "terrain_width"),
        (json!({ "terrain_height": -1 }), "terrain_height"),
        (json!({ "terrain_scale": 0 }), "terrain_scale"),
        (json!({ "terrain_octaves": 0 }), "terrain_octaves"),
        (
            json!({ "terrain_lacunarity": 100, "terrain_octaves": 16 }),
            "terrain_lacunarity",
        ),
        (json!({ "terrain_filter_size": -2 }), "terrain_filter_size"),
        (json!({ "ball_mass": -1 }), "ball_mass"),
        (json!({ "ball_mass": 0 }), "ball_mass"),
        (json!({ "ball_diameter": -0.2 }), "ball_diameter"),
        (json!({ "ball_diameter": 6 }), "ball_diameter"),
        (json!({ "simulations": 0 }), "simulations"),
        (json!({ "tick_rate": 0 }), "tick_rate"),
        (json!({ "total_time": -1 }), "total_time"),
        (
            json!({ "total_time": 1e6, "tick_rate": 100_000 }),
            "total_time",
        ),
    ] {
        let message = refused(&changes);
        assert!(message.contains(field), "{changes}: {message}");
    }
}

/// Checks fail for what they are there for.
#[test]
fn wrong_positions_fail_checks() {
    let directory = tempfile::tempdir().unwrap();
    let config = <Physics as taps::Config>::from_json(&configuration(
        &json!({ "simulations": 1, "terrain_height": 2 }),
        directory.path(),
    ))
    .unwrap();
    let heights = make_terrain(config.shape(1)).unwrap();
    let good = End {
        position: [5.0, 5.0, height_at(&heights, 5, 5.0, 5.0) + 0.1],
        start_energy: 1.0,
        final_energy: 0.5,
        energy_rise: 0.0,
    };
    assert!(super::report(&config, &heights, &[good]).passed());
    let [x, y, z] = good.position;
    for (bad, failing) in [
        (
            End {
                position: [x, y, z - 0.05],
                ..good
            },
            "depth_in_ground_m",
        ),
        (
            End {
                position: [0.02, y, 9.0],
                ..good
            },
            "depth_in_wall_m",
        ),
        (
            End {
                position: [x, 9.79, 9.0],
                ..good
            },
            "depth_in_wall_m",
        ),
        (
            End {
                position: [x, y, f64::NAN],
                ..good
            },
            "finite_positions",
        ),
        (
            End {
                energy_rise: 0.2,
                ..good
            },
            "energy_rise_m",
        ),
        (
            End {
                energy_rise: f64::NAN,
                ..good
            },
            "energy_rise_m",
        ),
    ] {
        let report = super::report(&config, &heights, &[bad]);
        let check = report
            .checks
            .iter()
            .find(|check| check.name == failing)
            .unwrap();
        assert!(!check.passed, "{failing}: {bad:?}");
    }
    let lower = Array::from_fn(heights.shape(), |at| heights.as_slice()[at] * 0.9);
    let report = super::report(&config, &lower, &[good]);
    assert!(!report.passed(), "a terrain lower than asked");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the terrain, its heights are finite and as asked.
    #[test]
    fn any_terrain_is_as_high_as_asked(
        seed: u64,
        side in 2u32..40,
        height in 0.01f64..100.0,
        scale in 0.3f64..50.0,
        octaves in 1u32..6,
        filter_size in 0.0f64..30.0,
    ) {
        let shape = Shape { seed, side, height, scale, octaves, filter_size, ..shape() };
        let terrain = make_terrain(shape).unwrap();
        let high = terrain.as_slice().iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let low = terrain.as_slice().iter().copied().fold(f32::INFINITY, f32::min);
        prop_assert_eq!((low, high), (0.0, height as f32));
    }
}
