//! `compare`: runs side by side.

use super::report::{unreadable, write};
use crate::arguments::Format;
use crate::exit::{ExitCode, Failure};
use crate::render;
use std::path::{Path, PathBuf};
use taps_report::Comparison;

pub(crate) fn compare(
    runs: &[PathBuf],
    by: &[String],
    output: Option<&Path>,
    format: Format,
) -> Result<ExitCode, Failure> {
    let comparison = Comparison::read(runs, by).map_err(unreadable)?;
    for warning in &comparison.warnings {
        render::note(&format!("warning: {warning}"));
    }
    match output {
        Some(output) if output.as_os_str() == "-" => {
            render::data(&comparison.page())?;
            return Ok(ExitCode::Ok);
        }
        Some(output) => write(output, &comparison.page())?,
        None => {}
    }
    if format.json {
        render::json(&comparison)?;
    } else if format.csv {
        render::data(&comparison.csv())?;
    } else {
        render::data(&comparison.text())?;
    }
    Ok(ExitCode::Ok)
}
