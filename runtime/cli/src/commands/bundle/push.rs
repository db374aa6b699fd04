//! `bundle push`: to a registry.

use super::access::{Access, Shown, failure, reference};
use crate::{
    apps::{self, BundleCache, signature_path, signatures},
    exit::{ExitCode, Failure},
    render,
};
use indicatif::DecimalBytes;
use serde_json::json;
use std::path::PathBuf;
use taps_bundle::{Bundle, Source, sign::SignatureFile};

/// Flags of `bundle push`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// An app, or the path of a bundle, a directory or a component.
    app: String,
    /// Where to: `HOST[:PORT]/PATH[:TAG]`; the tag is the app's version unless set.
    reference: String,
    /// Signature to send along; `BUNDLE.sig` is, if it is there.
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let target = reference(&arguments.reference)?;
    let bundle = apps::find(&arguments.app)?;
    let cache = BundleCache::open()?;
    let signatures = accompanying(arguments.signature.clone(), &bundle, &cache)?;
    let registry = arguments.access.open(&target, &cache)?;
    let (shown, progress) = Shown::new(format!("push {target}"));
    let (sent_to, pushed) = registry.push(&bundle, &progress).map_err(failure)?;
    drop(shown);
    let signed = match &signatures {
        Some(file) => Some(registry.push_signatures(file).map_err(failure)?.0),
        None => None,
    };
    if arguments.json {
        let digest = bundle.digest().to_string();
        render::json(&json!({
            "reference": sent_to.to_string(),
            "digest": digest,
            "sent": { "parts": pushed.sent, "bytes": pushed.sent_bytes },
            "present": { "parts": pushed.present, "bytes": pushed.present_bytes },
            "signatures": signed.map(|place| place.to_string()),
        }))?;
        return Ok(ExitCode::Ok);
    }
    let sent = format!(
        "{sent_to}\n  sent {} parts, {}; {} parts, {} were there\n",
        pushed.sent,
        DecimalBytes(pushed.sent_bytes),
        pushed.present,
        DecimalBytes(pushed.present_bytes)
    );
    let signed = match (&signatures, signed) {
        (Some(file), Some(place)) => format!("  signed by {}: {place}\n", file.signers()),
        _ => "  not signed\n".to_owned(),
    };
    render::data(&(sent + &signed))?;
    Ok(ExitCode::Ok)
}

/// The signatures that go along: those of the file that was named, else those beside the bundle, else those that
/// the cache has.
fn accompanying(
    named: Option<PathBuf>,
    bundle: &Bundle,
    cache: &BundleCache,
) -> Result<Option<SignatureFile>, Failure> {
    let beside = || match bundle.source() {
        Source::Archive(path) => Some(signature_path(path)).filter(|path| path.exists()),
        _ => None,
    };
    let digest = bundle.digest();
    let Some(path) = named.or_else(beside) else {
        return Ok(cache.signatures(&digest));
    };
    let refused = |error: String| {
        let error = format!("signature {}: {error}", path.display());
        Failure::new(ExitCode::Bundle, error)
            .hint("`taps-wasm bundle sign BUNDLE --key PEM` signs the bundle as it is now")
    };
    match signatures::read_of(&path, &digest).map_err(refused)? {
        Some(file) => Ok(Some(file)),
        None => Err(refused("there is no such file".to_owned())),
    }
}
