//! `bundle pull`: from a registry.

use super::{
    access::{Access, Shown, failure, reference},
    output,
};
use crate::{
    apps::{BundleCache, signature_path},
    exit::{ExitCode, Failure},
    new_file, render,
};
use indicatif::DecimalBytes;
use serde_json::json;
use std::path::{Path, PathBuf};
use taps_bundle::{Bundle, Digest, sign::SignatureFile};
use taps_registry::{Pulled, Reference};

/// Flags of `bundle pull`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where from: `HOST[:PORT]/PATH[:TAG][@sha256:…]`.
    reference: String,
    /// Write the bundle to a file, too; it is kept in the cache in any case.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A bundle that was brought and is kept, with the signatures that came along. They are not verified.
pub(crate) struct Brought {
    /// The bundle.
    pub(crate) bundle: Bundle,
    /// Its signatures.
    pub(crate) signatures: Option<SignatureFile>,
    /// Bytes that came over the network.
    fetched_bytes: u64,
    /// Bytes that were here already.
    kept_bytes: u64,
}

/// Brings a bundle and its signatures to the cache.
pub(crate) fn bring(
    reference: &Reference,
    access: &Access,
    cache: &BundleCache,
) -> Result<Brought, Failure> {
    let registry = access.open(reference, cache)?;
    let (shown, progress) = Shown::new(format!("pull {reference}"));
    let Pulled {
        bundle,
        fetched_bytes,
        kept_bytes,
    } = registry
        .pull(&progress, |digest| kept(cache, digest))
        .map_err(failure)?;
    let signatures = registry
        .pull_signatures(&bundle.digest())
        .map_err(failure)?;
    drop(shown);
    cache.add(&bundle, Some(&reference.to_string()), signatures.as_ref())?;
    Ok(Brought {
        bundle,
        signatures,
        fetched_bytes,
        kept_bytes,
    })
}

/// What the cache has of this digest. What is damaged there is brought again.
fn kept(cache: &BundleCache, digest: &Digest) -> Option<Bundle> {
    cache.load(digest).unwrap_or_else(|_| {
        // If it cannot be removed, the next one who loads it says so.
        let _ = cache.remove(digest);
        None
    })
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let from = reference(&arguments.reference)?;
    arguments.output.as_deref().map_or(Ok(()), writable)?;
    let cache = BundleCache::open()?;
    let brought = bring(&from, &arguments.access, &cache)?;
    if let Some(path) = &arguments.output {
        write(path, &brought)?;
    }
    let bundle = &brought.bundle;
    let app = bundle.app();
    let digest = bundle.digest();
    if arguments.json {
        let signatures = brought.signatures.iter();
        let keys = signatures.flat_map(|file| &file.signatures);
        render::json(&json!({
            "reference": from.to_string(),
            "digest": digest.to_string(),
            "app": app.name,
            "version": app.version,
            "fetched_bytes": brought.fetched_bytes,
            "kept_bytes": brought.kept_bytes,
            "keys": keys.map(|signature| signature.key.clone()).collect::<Vec<_>>(),
            "file": arguments.output,
        }))?;
        return Ok(ExitCode::Ok);
    }
    let mut lines = vec![format!(
        "{} {} {digest}\n  {} came, {} were here\n",
        app.name,
        app.version,
        DecimalBytes(brought.fetched_bytes),
        DecimalBytes(brought.kept_bytes)
    )];
    // Whether a key is one of ours is asked before a run, and by `verify`.
    lines.push(match &brought.signatures {
        Some(file) => format!("  says to be signed by {}\n", file.signers()),
        None => "  not signed\n".to_owned(),
    });
    if let Some(path) = &arguments.output {
        lines.push(format!("  written to {}\n", path.display()));
    }
    render::data(&lines.concat())?;
    Ok(ExitCode::Ok)
}

/// Writes the bundle, and its signatures beside it.
fn write(path: &Path, brought: &Brought) -> Result<(), Failure> {
    output::bundle(&brought.bundle, path)?;
    if let Some(signatures) = &brought.signatures {
        let text = signatures.to_json();
        new_file::bytes(&signature_path(path), 0o644, text.as_bytes())?;
    }
    Ok(())
}

/// Refuses a file that cannot be written, before anything is fetched.
fn writable(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let reason = if path.is_dir() {
        "it is a directory"
    } else if folder.is_some_and(|folder| !folder.is_dir()) {
        "its directory does not exist"
    } else {
        return Ok(());
    };
    let error = format!(
        "--output {}: {reason}; expected the name of a file",
        path.display()
    );
    Err(Failure::new(ExitCode::Usage, error))
}
