//! The whole app on the host, without a sandbox.

use serde_json::{Value, json};
use taps::testing::{self, Local};

use super::*;

fn report(config: &Value) -> Report {
    testing::run_app(&APP, config).unwrap()
}

fn residual(report: &Report) -> f64 {
    let check = report
        .checks
        .iter()
        .find(|check| check.name == "residual")
        .unwrap();
    check.value.as_f64().unwrap()
}

#[test]
fn residual_is_small() {
    for (matrix_size, block_size) in [
        (1, 1),
        (2, 1),
        (2, 2),
        (6, 3),
        (8, 2),
        (96, 96),
        (100, 25),
        (120, 8),
        (260, 130),
    ] {
        for full_residual in [false, true] {
            let report = report(&json!({
                "matrix_size": matrix_size,
                "block_size": block_size,
                "full_residual": full_residual,
            }));
            assert!(
                report.passed(),
                "{matrix_size}/{block_size}: {:?}",
                report.checks
            );
        }
    }
}

/// Whatever the order in which tasks run, and whatever the seed.
#[test]
fn order_and_seed_do_not_matter() {
    let config = json!({ "matrix_size": 60, "block_size": 10 });
    for seed in 0..8 {
        let local = Local::new().seed(seed).shuffled(seed);
        assert!(local.run_app(&APP, &config).unwrap().passed());
    }
}

/// Both ways to compute the residual see an error in one element of the factor.
#[test]
fn a_wrong_factor_is_found() {
    for full in [false, true] {
        let found = testing::run(|engine| {
            let config = small(40, 10);
            let place = config.place(40.0);
            let mut lower = submit_matrix(engine, place, 4)?;
            factor::submit(engine, &mut lower)?;
            let mut tile = lower[2][1].result()?;
            tile[(3, 4)] += 1e-6;
            lower[2][1] = engine.submit(pass::call(&tile))?;
            if full {
                check::full(engine, place, &lower)
            } else {
                check::probe(engine, place, &lower, 3)
            }
        });
        let found = found.unwrap();
        assert!(found > 100.0 * check::bound(40), "{found}");
    }
}

/// A tile made by the driver as a task's result.
#[taps::task]
fn pass(tile: &Tile) -> Tile {
    tile::copy(tile)
}

fn small(matrix_size: u32, block_size: u32) -> Cholesky {
    Cholesky {
        matrix_size,
        block_size,
        full_residual: false,
        probes: 3,
        compat_dag: false,
    }
}

/// The factor is unique: the tiles agree with the portable kernels, those of a guest without the
/// host's help, on the whole matrix.
#[test]
fn host_and_guest_kernels_agree() {
    let (side, block) = (90, 18);
    let lower = testing::run(|engine| {
        let mut lower = submit_matrix(engine, small(90, 18).place(90.0), 5)?;
        factor::submit(engine, &mut lower)?;
        let fetch = |row: &Vec<Future<Tile>>| row.iter().map(Future::result).collect();
        lower
            .iter()
            .map(fetch)
            .collect::<taps::Result<Vec<Vec<Tile>>>>()
    });
    let lower = lower.unwrap();
    let seed = testing::run(|_| Ok(taps::seed())).unwrap();
    let mut whole = vec![0.0; side * side];
    matrix::fill(seed, side as f64, 0..side, 0..side, &mut whole);
    let view = taps_kernels::MatMut::column_major(&mut whole, side, side).unwrap();
    taps_kernels::potrf::<taps_kernels::Portable, f64>(view, &mut taps_kernels::never()).unwrap();
    for row in 0..side {
        for column in 0..=row {
            let tile = &lower[row / block][column / block];
            let (found, expected) = (
                tile[(column % block, row % block)],
                whole[column * side + row],
            );
            assert!(
                (found - expected).abs() < 1e-13 * side as f64,
                "({row}, {column})"
            );
        }
    }
    assert!(lower[2][2][(5, 4)].abs() == 0.0, "zeros above the diagonal");
}

/// T(T+1)(T+2)/6 tasks of the right names.
#[test]
fn tasks_of_the_factorisation() {
    for tiles in [1_u64, 2, 4, 10] {
        let config = json!({ "matrix_size": 4 * tiles, "block_size": 4 });
        let names = submitted(&config);
        let count = |name: &str| names.iter().filter(|other| **other == name).count() as u64;
        assert_eq!(count("generate"), tiles * (tiles + 1) / 2);
        assert_eq!(count("potrf"), tiles);
        assert_eq!(count("trsm"), tiles * (tiles - 1) / 2);
        assert_eq!(count("syrk"), tiles * (tiles - 1) / 2);
        assert_eq!(
            count("gemm"),
            tiles * (tiles - 1) * tiles.saturating_sub(2) / 6
        );
        assert_eq!(
            factor::task_count(tiles),
            tiles * (tiles + 1) * (tiles + 2) / 6
        );
    }
}

/// TaPS's graph, task by task.
#[test]
fn tasks_of_the_compatible_graph() {
    for (tiles, expected) in [(1, 1), (2, 5), (4, 30), (10, 385)] {
        let config = json!({ "matrix_size": 3 * tiles, "block_size": 3, "compat_dag": true });
        let names = submitted(&config);
        let count = names.iter().filter(|name| **name != "generate").count();
        assert_eq!(count, expected);
        let report = report(&config);
        assert!(report.passed());
        assert!(
            report
                .values
                .iter()
                .any(|(name, _)| name == "numerically-meaningless")
        );
        assert!(report.checks.iter().all(|check| check.name != "residual"));
    }
}

/// Every size that could fail to be positive definite under the double subtraction.
#[test]
fn compatible_graph_never_fails() {
    for matrix_size in 1..24 {
        let config = json!({ "matrix_size": matrix_size, "block_size": 1, "compat_dag": true });
        for seed in 0..4 {
            assert!(
                Local::new()
                    .seed(seed)
                    .run_app(&APP, &config)
                    .unwrap()
                    .passed()
            );
        }
    }
}

#[test]
fn wrong_configurations() {
    for (matrix_size, block_size, message) in [
        (
            100,
            7,
            "block_size = 7: expected a divisor of matrix_size = 100",
        ),
        (
            100,
            200,
            "block_size = 200: expected at most matrix_size = 100",
        ),
        (
            100,
            0,
            "block_size = 0: expected a whole number from 1 to 8192",
        ),
        (
            0,
            1,
            "matrix_size = 0: expected a whole number from 1 to 4294967295",
        ),
    ] {
        let config = json!({ "matrix_size": matrix_size, "block_size": block_size });
        let error = testing::run_app(&APP, &config).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn small_residual_is_small_indeed() {
    let report = report(&json!({ "matrix_size": 128, "block_size": 32 }));
    assert!(residual(&report) < 1e-14);
}

/// Names of the tasks that a run submits.
fn submitted(config: &Value) -> Vec<&'static str> {
    let (result, trace) = Local::new().trace(|engine| (APP.run)(config, engine));
    result.unwrap();
    assert!(trace.finished.iter().all(|(_, succeeded)| *succeeded));
    trace.finished.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn phases_and_printed_matrices() {
    for (matrix_size, printed) in [(8, 2), (9, 0)] {
        let config = json!({ "matrix_size": matrix_size, "block_size": matrix_size });
        let (result, trace) = Local::new().trace(|engine| (APP.run)(&config, engine));
        result.unwrap();
        assert_eq!(trace.phases, ["generate", "factorise", "check"]);
        let matrices = trace
            .log
            .iter()
            .filter(|(_, line)| line.contains("put matrix:"));
        assert_eq!(matrices.count(), printed);
    }
}
