//! `bundle sign` and `bundle keygen`: signatures.

use crate::exit::{ExitCode, Failure};
use std::path::PathBuf;

/// Flags of `bundle sign`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The bundle.
    bundle: PathBuf,
    /// Private key: Ed25519, PKCS#8, as `bundle keygen` and `openssl genpkey` write it.
    #[arg(long, value_name = "PEM")]
    key: PathBuf,
    /// Where the signature goes; BUNDLE.sig unless set. Signatures by other keys that are there stay.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Flags of `bundle keygen`.
#[derive(Debug, clap::Args)]
pub(crate) struct Keygen {
    /// Where the keys go: FILE.pem, the private one, and FILE.pub.pem.
    file: PathBuf,
}

pub(crate) fn command(_arguments: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::new(
        ExitCode::Usage,
        "this command is not there yet",
    ))
}

pub(crate) fn keygen(_arguments: &Keygen) -> Result<ExitCode, Failure> {
    Err(Failure::new(
        ExitCode::Usage,
        "this command is not there yet",
    ))
}
