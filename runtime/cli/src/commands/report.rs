//! `report`: a run as one page of HTML.

use crate::exit::{ExitCode, Failure};
use crate::render;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use taps_report::ReportError;

/// Name of the page in a run directory.
const PAGE: &str = "report.html";

/// Why a page is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteFailure {
    /// It could not be written.
    #[error("write {}", path.display())]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
}

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

/// Writes a file that appears when it is whole.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |source| {
        let path = path.to_owned();
        Failure::new(ExitCode::Records, WriteFailure::Write { path, source })
            .hint("--output names another place; `-` is stdout")
    };
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".report-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
