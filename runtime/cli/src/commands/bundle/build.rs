//! `bundle build`: a bundle of a crate, or of components.

use super::{assemble, output, recipe::Recipe, sign};
use crate::apps::consent;
use crate::exit::{ExitCode, Failure};
use crate::render;
use crate::summary;
use std::{
    fmt::Write,
    path::{Path, PathBuf},
};
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
    if arguments.json {
        render::json(&serde_json::json!({
            "app": bundle.app().name,
            "version": bundle.app().version,
            "bundle": path,
            "file_bytes": size,
            "digest": bundle.digest(),
            "signature": signature,
            "components": bundle.manifest().components,
        }))?;
    } else {
        render::data(&text(&bundle, &path, size))?;
    }
    Ok(ExitCode::Ok)
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

/// What was made, for people.
pub(super) fn text(bundle: &Bundle, path: &Path, size: u64) -> String {
    let app = bundle.app();
    let mut text = format!(
        "{} {}: {}, {}\n{}\n",
        app.name,
        app.version,
        path.display(),
        summary::bytes(size),
        bundle.digest()
    );
    for entry in &bundle.manifest().components {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}  {}", entry.file, summary::bytes(entry.size));
    }
    for entry in &bundle.manifest().data {
        let place = entry.url.as_deref().unwrap_or("included");
        let _ = writeln!(
            text,
            "  {}  {}  {place}",
            entry.name,
            summary::bytes(entry.size)
        );
    }
    text
}
