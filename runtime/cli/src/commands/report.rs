//! `report`: a run as one page of HTML.

use crate::exit::{ExitCode, Failure};
use crate::{new_file, render};
use std::path::Path;
use taps_report::ReportError;

/// Name of the page in a run directory.
const PAGE: &str = "report.html";

pub(crate) fn report(run: &Path, output: Option<&Path>, json: bool) -> Result<ExitCode, Failure> {
    let model = taps_report::read(run).map_err(unreadable)?;
    for note in &model.notes {
        render::note(&format!("note: {note}"));
    }
    if json {
        render::json(&model)?;
        return Ok(ExitCode::Ok);
    }
    let page = taps_report::page(&model);
    if output.is_some_and(|output| output.as_os_str() == "-") {
        render::data(&page)?;
        return Ok(ExitCode::Ok);
    }
    let path = match output {
        Some(output) => output.to_owned(),
        None if run.is_dir() => run.join(PAGE),
        None => run.with_file_name(PAGE),
    };
    write(&path, &page)?;
    render::data(&format!("{}\n", path.display()))?;
    Ok(ExitCode::Ok)
}

/// A run that is none.
pub(super) fn unreadable(error: ReportError) -> Failure {
    Failure::new(ExitCode::Records, error).hint("name the directory of a run, or its events.log")
}

/// Writes a page.
pub(super) fn write(path: &Path, page: &str) -> Result<(), Failure> {
    match new_file::bytes(path, 0o644, page.as_bytes()) {
        Ok(_) => Ok(()),
        Err(failure) => Err(failure.hint("--output names another place; `-` is stdout")),
    }
}
