//! Running a driver in a plain `cargo test`: tasks run one after another, when the driver waits.
//!
//! ```
//! #[taps::task]
//! fn square(number: u64) -> u64 {
//!     number * number
//! }
//!
//! fn main() -> taps::Result<()> {
//!     let total = taps::testing::run(|engine| {
//!         let squares = engine.map((1..=3).map(|n| square::call(n)))?;
//!         Ok(squares.iter().sum::<u64>())
//!     })?;
//!     assert_eq!(total, 14);
//!     Ok(())
//! }
//! ```

use std::path::PathBuf;
use std::rc::Rc;

use crate::backend::local;
use crate::backend::table::{Events, Table};
use crate::{AppEntry, Engine, Report, Result};

/// A local run: options first, then [`Local::run`] or [`Local::run_app`].
pub struct Local {
    seed: u64,
    order: Option<u64>,
}

/// What happened in a local run.
pub type Trace = Events;

impl Local {
    /// Seed 0, tasks in the order of submission.
    pub fn new() -> Self {
        Self {
            seed: 0,
            order: None,
        }
    }

    /// Seed of the run.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Runs ready tasks in a random order, chosen by `seed`.
    #[must_use]
    pub fn shuffled(mut self, seed: u64) -> Self {
        self.order = Some(seed);
        self
    }

    /// Runs a driver, and tells what happened.
    pub fn trace<R>(self, driver: impl FnOnce(&Engine) -> Result<R>) -> (Result<R>, Trace) {
        let table = Table::new(self.seed, self.order);
        let result = local::with_driver(Rc::clone(&table), || driver(&Engine::current()));
        (result, table.events())
    }

    /// Runs a driver.
    pub fn run<R>(self, driver: impl FnOnce(&Engine) -> Result<R>) -> Result<R> {
        self.trace(driver).0
    }

    /// Runs a whole app with a configuration as the host would give it: a JSON object whose
    /// path fields are paths of this machine.
    pub fn run_app(self, app: &AppEntry, config: &serde_json::Value) -> Result<Report> {
        self.run(|engine| (app.run)(config, engine))
    }
}

impl Default for Local {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs a driver with seed 0, tasks in the order of submission.
pub fn run<R>(driver: impl FnOnce(&Engine) -> Result<R>) -> Result<R> {
    Local::new().run(driver)
}

/// Runs a driver with its ready tasks in a random order, chosen by `seed`.
pub fn run_shuffled<R>(seed: u64, driver: impl FnOnce(&Engine) -> Result<R>) -> Result<R> {
    Local::new().shuffled(seed).run(driver)
}

/// Runs a whole app.
pub fn run_app(app: &AppEntry, config: &serde_json::Value) -> Result<Report> {
    Local::new().run_app(app, config)
}

/// Whether all these programs are on the `PATH`, for tests that run them. Says so if not, and fails
/// the test where the environment has `TAPS_REQUIRE_PROGRAMS`.
///
/// # Panics
/// If a program is missing that is required.
pub fn installed(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |program: &str| {
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    };
    let missing: Vec<_> = programs.iter().filter(|program| !there(program)).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(
        std::env::var_os("TAPS_REQUIRE_PROGRAMS").is_none(),
        "required and not installed: {missing:?}"
    );
    // The capture of the test runner shows it with `--nocapture`.
    eprintln!("SKIP: not installed: {missing:?}");
    false
}

/// The directory of real input sets that `TAPS_WASM_DATA` names, for tests that use them. Says so if there is
/// none.
pub fn data() -> Option<PathBuf> {
    let data = std::env::var_os("TAPS_WASM_DATA").map(PathBuf::from);
    if data.is_none() {
        eprintln!("SKIP: TAPS_WASM_DATA is not set");
    }
    data
}
