//! `bundle export`: a built-in app as a bundle.

use crate::exit::{ExitCode, Failure};
use std::path::PathBuf;

/// Flags of `bundle export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A built-in app.
    app: String,
    /// The bundle; `NAME-VERSION.taps` in the present directory unless set.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn command(_arguments: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::new(
        ExitCode::Usage,
        "this command is not there yet",
    ))
}
