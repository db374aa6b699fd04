//! `bundle verify`: whether a bundle is what it says.

mod description;
mod runs;

use super::{inspect::Signatures, sign};
use crate::{
    apps::{self, Found},
    exit::{ExitCode, Failure},
    render::{self, Style},
};
use serde::Serialize;
use std::{fmt::Write, path::PathBuf};
use taps_bundle::Digest;
use taps_schema::WIT_VERSION;

/// Flags of `bundle verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// An app, or the path of a bundle, a directory or a component.
    app: String,
    /// Public key that must have signed the bundle; one of them, if given several times.
    #[arg(long, value_name = "PEM")]
    key: Vec<PathBuf>,
    /// Run the app as the bundle's `expected` entries say, and compare the results.
    #[arg(long)]
    run: bool,
    /// Let the runs of --run do what the bundle asks for; remembered for its digest.
    #[arg(long, requires = "run")]
    allow: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One thing that was checked.
#[derive(Debug, Serialize)]
struct Check {
    name: String,
    outcome: Outcome,
    /// What was found.
    detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Passed,
    Failed,
    /// Neither good nor bad, and worth a look.
    Noted,
}

impl Check {
    fn new(name: impl Into<String>, outcome: Outcome, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            outcome,
            detail: detail.into(),
        }
    }

    /// Passed, with these words, or failed for this reason.
    fn of<T>(name: &str, found: Result<T, String>, words: impl FnOnce(T) -> String) -> Self {
        match found {
            Ok(found) => Self::new(name, Outcome::Passed, words(found)),
            Err(reason) => Self::new(name, Outcome::Failed, reason),
        }
    }
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode, Failure> {
    // Bad keys are told before anything else.
    let keys = sign::public_keys(&arguments.key)?;
    let found = match apps::find_with_origin(&arguments.app) {
        Ok(found) => found,
        Err(failure) if arguments.json => {
            render::json(&serde_json::json!({ "ok": false, "error": failure.message() }))?;
            return Err(failure);
        }
        Err(failure) => return Err(failure),
    };
    if arguments.run && found.bundle.own_manifest().expected.is_empty() {
        let error = format!("{}: it does not say what its runs give", found.shown());
        return Err(Failure::new(ExitCode::Usage, error)
            .hint("`[[expected]]` in its bundle.toml; without --run all else is checked"));
    }
    let mut checks = vec![digests(&found), parts(&found)];
    if all_passed(&checks) {
        checks.push(description::check(&found.bundle)?);
    }
    checks.push(signature(&found, &keys, &arguments.key)?);
    let mut exit = ExitCode::Bundle;
    // What is not what it says is not run.
    if arguments.run && all_passed(&checks) {
        exit = ExitCode::CheckFailed;
        checks.extend(runs::check(arguments, &found.bundle)?);
    }
    let ok = all_passed(&checks);
    if arguments.json {
        render::json(&serde_json::json!({
            "ok": ok,
            "app": found.bundle.app().name,
            "version": found.bundle.app().version,
            "digest": found.bundle.digest(),
            "source": found.shown(),
            "checks": checks,
        }))?;
    } else {
        render::data(&text(&found, &checks))?;
    }
    if ok {
        return Ok(ExitCode::Ok);
    }
    let failed: Vec<&str> = checks
        .iter()
        .filter(|check| check.outcome == Outcome::Failed)
        .map(|check| check.name.as_str())
        .collect();
    let error = format!(
        "{} is not what it says: {}",
        arguments.app,
        failed.join(", ")
    );
    Err(Failure::new(exit, error))
}

fn all_passed(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.outcome != Outcome::Failed)
}

fn text(found: &Found, checks: &[Check]) -> String {
    let style = Style::for_stdout();
    let app = found.bundle.app();
    let digest = found.bundle.digest();
    let mut text = format!(
        "{} {} from {}\n{digest}\n",
        app.name,
        app.version,
        found.shown()
    );
    for check in checks {
        let word = match check.outcome {
            Outcome::Passed => style.good("ok    "),
            Outcome::Failed => style.error("FAILED"),
            Outcome::Noted => style.warning("note  "),
        };
        let detail = check.detail.replace('\n', "\n                      ");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {word} {:<12} {detail}", check.name);
    }
    text
}

/// Digests and sizes of all parts. Loading compared them, except those of what is built in.
fn digests(found: &Found) -> Check {
    let layout = found.bundle.layout();
    let blobs = layout.blobs();
    let wrong = blobs.iter().find_map(|blob| {
        let digest = Digest::of(&blob.bytes);
        let (stated, size) = (blob.descriptor.digest, blob.descriptor.size);
        let same = digest == stated && blob.bytes.len() as u64 == size;
        (!same).then(|| format!("what should be {stated} of {size} bytes is {digest}"))
    });
    Check::of("digests", wrong.map_or(Ok(()), Err), |()| {
        format!("{} parts are what their digests say", blobs.len())
    })
}

/// Imports, exports, capabilities and the version of the interface.
fn parts(found: &Found) -> Check {
    let bundle = &found.bundle;
    let manifest = bundle.own_manifest();
    let checked = manifest.check().and_then(|()| bundle.verify());
    Check::of(
        "interface",
        checked.map_err(|error| error.to_string()),
        |()| {
            let wit = &manifest.app.wit_version;
            format!(
                "taps:core {wit}, and this program speaks {WIT_VERSION}; no import that the manifest hides"
            )
        },
    )
}

/// Signatures: by one of the keys that were named, if any were; else by whom it may be.
fn signature(
    found: &Found,
    keys: &[taps_bundle::sign::PublicKey],
    named: &[PathBuf],
) -> Result<Check, Failure> {
    let name = "signature";
    if !keys.is_empty() {
        let digest = found.bundle.digest();
        let verified = match &found.signatures {
            None => Err("it is not signed, and --key is given".to_owned()),
            Some(Err(reason)) => Err(reason.clone()),
            Some(Ok(file)) => file
                .verify(&digest, keys)
                .map_err(|error| error.to_string()),
        };
        return Ok(Check::of(name, verified, |key| {
            format!("by {}", key.fingerprint())
        }));
    }
    let signatures = Signatures::of(found, named)?;
    let outcome = match &signatures {
        Signatures::BuiltIn => Outcome::Passed,
        Signatures::Unreadable { .. } | Signatures::OfAnother { .. } => Outcome::Failed,
        Signatures::By { signers } if signers.iter().any(|signer| !signer.sound) => Outcome::Failed,
        Signatures::By { signers } if signers.iter().any(|signer| signer.known) => Outcome::Passed,
        Signatures::None | Signatures::By { .. } => Outcome::Noted,
    };
    Ok(Check::new(name, outcome, signatures.in_words().join("\n")))
}
