//! `env`: what this machine is.

use crate::exit::{ExitCode, Failure};
use crate::render;
use std::collections::BTreeMap;
use taps_records::{Environment, EnvironmentExtra};

pub(crate) fn env(as_json: bool) -> Result<ExitCode, Failure> {
    let environment = Environment::collect(extra());
    if as_json {
        render::data(&environment.to_json())?;
    } else {
        render::data(&environment.to_string())?;
    }
    Ok(ExitCode::Ok)
}

/// What this program knows of the environment beyond what the system tells.
pub(crate) fn extra() -> EnvironmentExtra {
    let name = env!("CARGO_PKG_NAME").to_owned();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let scan = taps_sandbox::pagemap_scan_available();
    EnvironmentExtra {
        packages: BTreeMap::from([(name, version)]),
        kernel_features: BTreeMap::from([("pagemap_scan".to_owned(), scan)]),
        ..EnvironmentExtra::default()
    }
}
