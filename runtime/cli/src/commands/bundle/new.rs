//! `bundle new`: a crate to begin with.

use crate::exit::{ExitCode, Failure};
use std::path::PathBuf;

/// Flags of `bundle new`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Name of the app, in kebab case; also the directory that is made, unless DIR says otherwise.
    #[arg(required_unless_present = "update_sdk")]
    name: Option<String>,
    /// Directory to make.
    directory: Option<PathBuf>,
    /// Write the SDK of this program into an app that an earlier version began.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["name", "directory"])]
    update_sdk: Option<PathBuf>,
}

pub(crate) fn command(_arguments: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::new(
        ExitCode::Usage,
        "this command is not there yet",
    ))
}
