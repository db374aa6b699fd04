//! `bundle cache`: the bundles that are kept on this machine.

use crate::exit::{ExitCode, Failure};
use std::path::PathBuf;

/// What `bundle cache` does.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the bundles that are kept.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Keep a bundle, so that it can be run by its name.
    Add {
        /// The bundle.
        file: PathBuf,
    },
    /// Remove a bundle.
    Remove {
        /// Its name, `NAME:VERSION`, reference or digest.
        name: String,
    },
    /// Remove all bundles.
    Clear,
}

pub(crate) fn command(_what: &Command) -> Result<ExitCode, Failure> {
    Err(Failure::new(
        ExitCode::Usage,
        "this command is not there yet",
    ))
}
