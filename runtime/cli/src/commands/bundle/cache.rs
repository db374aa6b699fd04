//! `bundle cache`: the bundles that are kept on this machine.

use crate::{
    apps::{
        self, BundleCache,
        cache::Kept,
        catalogue::{Catalogue, Place},
        signature_path, signatures,
    },
    exit::{ExitCode, Failure},
    render,
};
use indicatif::DecimalBytes;
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
};
use taps_bundle::Digest;

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

pub(crate) fn command(what: &Command) -> Result<ExitCode, Failure> {
    match what {
        Command::List { json } => list(*json),
        Command::Add { file } => add(file),
        Command::Remove { name } => remove(name),
        Command::Clear => {
            let count = match BundleCache::existing() {
                Some(cache) => cache.clear()?,
                None => 0,
            };
            let bundles = if count == 1 { "bundle" } else { "bundles" };
            render::data(&format!("{count} {bundles} removed\n"))?;
            Ok(ExitCode::Ok)
        }
    }
}

/// A bundle that is kept, with what it is, or why it cannot be used.
struct Row {
    kept: Kept,
    bytes: u64,
    app: Result<(String, String), String>,
}

fn rows() -> Result<Vec<Row>, Failure> {
    let Some(cache) = BundleCache::existing() else {
        return Ok(Vec::new());
    };
    // Read once for all: what is remembered of them is not read from the archives again.
    let catalogue = Catalogue::read(&[]);
    let app = |kept: &Kept| {
        let mut entries = catalogue.entries.iter();
        let entry = entries.find(
            |entry| matches!(&entry.place, Place::Cache(digest, _) if *digest == kept.digest),
        );
        let broken = || {
            let mut broken = catalogue.broken.iter();
            let broken = broken.find(|broken| broken.path == kept.path);
            broken.map_or_else(String::new, |broken| broken.reason.clone())
        };
        entry
            .map(|entry| (entry.app.name.clone(), entry.app.version.clone()))
            .ok_or_else(broken)
    };
    let kept = cache.list()?.into_iter();
    let mut rows: Vec<Row> = kept
        .map(|kept| Row {
            bytes: fs::metadata(&kept.path).map_or(0, |found| found.len()),
            app: app(&kept),
            kept,
        })
        .collect();
    rows.sort_by(|a, b| {
        (a.app.as_ref().ok(), a.kept.digest).cmp(&(b.app.as_ref().ok(), b.kept.digest))
    });
    Ok(rows)
}

fn list(as_json: bool) -> Result<ExitCode, Failure> {
    let rows = rows()?;
    if as_json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                let app = row.app.as_ref().ok();
                json!({
                    "app": app.map(|(name, _)| name),
                    "version": app.map(|(_, version)| version),
                    "digest": row.kept.digest,
                    "bytes": row.bytes,
                    "references": row.kept.references,
                    "path": row.kept.path,
                    "error": row.app.as_ref().err(),
                })
            })
            .collect();
        render::json(&rows)?;
        return Ok(ExitCode::Ok);
    }
    let mut lines = Vec::new();
    for row in &rows {
        let what = match &row.app {
            Ok((name, version)) => format!("{name} {version}"),
            Err(reason) => format!("damaged: {reason}"),
        };
        let size = DecimalBytes(row.bytes);
        lines.push(format!("{what}  {size}  {}\n", row.kept.digest));
        let references = row.kept.references.iter();
        lines.extend(references.map(|reference| format!("    {reference}\n")));
    }
    render::data(&lines.concat())?;
    Ok(ExitCode::Ok)
}

fn add(file: &Path) -> Result<ExitCode, Failure> {
    let bundle = apps::load(file)?;
    let beside = signature_path(file);
    let signatures = signatures::read_of(&beside, &bundle.digest()).map_err(|reason| {
        let error = format!("{}: {reason}", beside.display());
        Failure::new(ExitCode::Bundle, error)
    })?;
    let digest = BundleCache::open()?.add(&bundle, None, signatures.as_ref())?;
    let app = bundle.app();
    render::data(&format!("{} {} {digest}\n", app.name, app.version))?;
    Ok(ExitCode::Ok)
}

fn remove(name: &str) -> Result<ExitCode, Failure> {
    let found = found(name)?;
    let Some((cache, digest)) = found else {
        let error = format!("no bundle `{name}` is kept");
        return Err(
            Failure::new(ExitCode::Usage, error).hint("`taps-wasm bundle cache list` shows all")
        );
    };
    cache.remove(&digest)?;
    render::data(&format!("{digest} removed\n"))?;
    Ok(ExitCode::Ok)
}

/// The one bundle that is meant.
fn found(name: &str) -> Result<Option<(BundleCache, Digest)>, Failure> {
    let Some(cache) = BundleCache::existing() else {
        return Ok(None);
    };
    let kept = cache.list()?;
    let of_digest = name.parse::<Digest>().ok();
    let of_reference = cache.referred(name)?;
    if let Some(digest) = of_digest.or(of_reference) {
        let there = kept.iter().any(|kept| kept.digest == digest);
        return Ok(there.then_some((cache, digest)));
    }
    let (wanted, version) = match name.split_once(':') {
        Some((wanted, version)) => (wanted, Some(version)),
        None => (name, None),
    };
    let rows = rows()?;
    let of_name: Vec<&Row> = rows
        .iter()
        .filter(|row| {
            let app = row.app.as_ref();
            app.is_ok_and(|(name, found)| {
                name == wanted && version.is_none_or(|version| found == version)
            })
        })
        .collect();
    match of_name.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some((cache, only.kept.digest))),
        several => {
            let digests: Vec<String> = several
                .iter()
                .map(|row| row.kept.digest.to_string())
                .collect();
            let error = format!("`{name}` stands for several: {}", digests.join(", "));
            Err(Failure::new(ExitCode::Usage, error).hint("name one by its digest"))
        }
    }
}
