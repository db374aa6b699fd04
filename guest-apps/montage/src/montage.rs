//! Montage's programs, and how a task runs one of them.
//!
//! Every call has short relative paths: the programs abort on long ones.

use taps::{Completion, Error, Program, ProgramNeed, Result};

use crate::status::Status;

/// How to get them.
const INSTALL: &str = "apt-get install montage";

/// The programs that the app needs.
pub(crate) const PROGRAMS: &[ProgramNeed] = &[
    ProgramNeed::new("mImgtbl", INSTALL),
    ProgramNeed::new("mMakeHdr", INSTALL),
    ProgramNeed::new("mProject", INSTALL),
    ProgramNeed::new("mProjectPP", INSTALL)
        .optional()
        .help("only for project = mProjectPP"),
    ProgramNeed::new("mOverlaps", INSTALL),
    ProgramNeed::new("mDiff", INSTALL),
    ProgramNeed::new("mFitExec", INSTALL),
    ProgramNeed::new("mBgModel", INSTALL),
    ProgramNeed::new("mBackground", INSTALL),
    ProgramNeed::new("mAdd", INSTALL),
];

/// What `mDiff` says of two images that have no pixel with a value in common.
const NO_OVERLAP: [&str; 3] = [
    "All pixels are blank.",
    "Images don't overlap",
    "No overlap",
];

/// Runs a program that must say that all is well.
pub(crate) fn run(program: Program) -> Result<(Completion, Status)> {
    let done = program.run()?;
    let status = judge(&done)?;
    Ok((done, status))
}

/// Runs `mDiff`: like [`run`], but that there is nothing to compare is an error of its own kind,
/// `NoOverlap`.
pub(crate) fn run_difference(program: Program) -> Result<Completion> {
    let done = program.run()?;
    match Status::parse(&done.stdout_text()) {
        Some(status) if status.stat == "ERROR" && NO_OVERLAP.contains(&status.message()) => {
            Err(Error::app("NoOverlap", status.message()))
        }
        _ => judge(&done).map(|_| done),
    }
}

/// What a program said of itself; whatever is neither good nor a warning is an error.
fn judge(done: &Completion) -> Result<Status> {
    let status = Status::parse(&done.stdout_text());
    match status {
        _ if done.exit_code.is_none() => Err(done.error("it was ended by a signal")),
        None => Err(done.error("it gave no status")),
        Some(status) if status.stat == "OK" && done.succeeded() => Ok(status),
        Some(status) if status.stat == "WARNING" && done.succeeded() => {
            taps::warn!("{}", done.error(status.message()));
            Ok(status)
        }
        Some(status) => Err(done.error(status.message())),
    }
}
