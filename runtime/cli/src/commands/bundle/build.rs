//! `bundle build`: a bundle of a crate, or of components.

use super::{assemble, output, recipe::Recipe, sign};
use crate::apps::consent;
use crate::exit::{ExitCode, Failure};
use std::path::{Path, PathBuf};
use taps_bundle::Bundle;

/// Flags of `bundle build`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Directory of a crate with or without a bundle.toml; or components, the driver's first.
    #[arg(value_name = "DIR | COMPONENT")]
    what: Vec<PathBuf>,
    /// The bundle; `NAME-VERSION.taps` in the present directory unless set.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Sign it with this private key.
    #[arg(long, value_name = "PEM")]
    key: Option<PathBuf>,
    /// Have cargo fetch nothing.
    #[arg(long)]
    offline: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode, Failure> {
    // A bad key is told before the long part.
    let key = arguments
        .key
        .as_deref()
        .map(sign::private_key)
        .transpose()?;
    let bundle = made(arguments)?;
    let path = match &arguments.output {
        Some(path) => path.clone(),
        None => output::place(&bundle)?,
    };
    let size = output::bundle(&bundle, &path)?;
    // Whoever builds a bundle trusts it.
    consent::remember(&bundle)?;
    let signature = match &key {
        Some(key) => Some(sign::write(&bundle.digest(), key, &path, None)?),
        None => None,
    };
    output::tell(&bundle, &path, size, signature.as_deref(), arguments.json)
}

fn made(arguments: &Arguments) -> Result<Bundle, Failure> {
    let directory = match &arguments.what[..] {
        [] => Some(Path::new(".")),
        [only] if only.is_dir() => Some(only.as_path()),
        _ => None,
    };
    let (directory, recipe) = match directory {
        Some(directory) => (directory, Recipe::read(directory)?),
        None => (Path::new("."), Recipe::of_files(&arguments.what)?),
    };
    let pieces = assemble::pieces(&recipe, directory, arguments.offline)?;
    assemble::bundle(&recipe, directory, pieces)
}
