//! Whether a bundle from elsewhere may run here: it is signed by somebody the user knows, was allowed before, or
//! is allowed now. Asked before anything is compiled.

use super::{Found, Origin, places, signatures};
use crate::{
    exit::{ExitCode, Failure},
    render,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
};
use taps_bundle::{
    Bundle, Digest, Source,
    sign::{PublicKey, SignatureError, SignatureFile},
};
use taps_config::Preview;

/// Version of the file of what was allowed.
const FORMAT: u32 = 1;

/// What the user said on the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// `--allow`.
    pub(crate) allow: bool,
    /// `--locked`.
    pub(crate) locked: bool,
    /// `--key`: files of public keys.
    pub(crate) keys: Vec<PathBuf>,
    /// `--allow-programs`.
    pub(crate) programs: Vec<String>,
    /// Whether a question can be put.
    pub(crate) may_ask: bool,
}

impl From<&Preview> for Wanted {
    fn from(seen: &Preview) -> Self {
        let switches = seen.switches;
        Self {
            allow: switches.allow,
            locked: switches.locked,
            keys: seen.keys.iter().map(PathBuf::from).collect(),
            programs: seen.programs.clone(),
            may_ask: !switches.json
                && !switches.quiet
                && io::stdin().is_terminal()
                && io::stderr().is_terminal(),
        }
    }
}

/// By what right an app runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// It is part of this program.
    BuiltIn,
    /// The user named a file or directory that asks for nothing beyond sandboxes and the paths that are given.
    Unneeded,
    /// A known key signed it; the key's fingerprint.
    Signed(String),
    /// Its digest was allowed before.
    Remembered,
    /// It was allowed now.
    Allowed,
}

impl Right {
    /// Its word in records.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::BuiltIn => "built-in",
            Self::Unneeded => "unneeded",
            Self::Signed(_) => "signed",
            Self::Remembered => "remembered",
            Self::Allowed => "allowed",
        }
    }

    /// Fingerprint of the key that signed it.
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Self::Signed(key) => Some(key),
            _ => None,
        }
    }

    /// Whether the user agreed to what the bundle asks for, programs included.
    pub(crate) fn covers_programs(&self) -> bool {
        !matches!(self, Self::Unneeded)
    }
}

/// Decides whether an app may run; the failure says what it asks for, and what to do.
pub(crate) fn ask(found: &Found, wanted: &Wanted) -> Result<Right, Failure> {
    if found.origin == Origin::BuiltIn {
        return Ok(Right::BuiltIn);
    }
    let bundle = &found.bundle;
    let digest = bundle.digest();
    let unsigned = match signer(found, &digest, wanted)? {
        Ok(key) => return Ok(Right::Signed(key)),
        Err(why) => why,
    };
    if is_remembered(&digest)? {
        return Ok(Right::Remembered);
    }
    if !wanted.locked && is_harmless(found, wanted) {
        return Ok(Right::Unneeded);
    }
    let question = Question {
        found,
        digest,
        unsigned,
    };
    if wanted.locked {
        return Err(question.locked());
    }
    if wanted.allow || wanted.may_ask && question.put()? {
        remember(bundle)?;
        return Ok(Right::Allowed);
    }
    Err(question.refused())
}

/// Whether the user named a component or a directory that needs no question: what it may reach is named on the
/// command line, too.
fn is_harmless(found: &Found, wanted: &Wanted) -> bool {
    let bare = matches!(
        found.bundle.source(),
        Source::Component(_) | Source::Directory(_)
    );
    if found.origin != Origin::Path || !bare {
        return false;
    }
    // Refused with their names by whoever looks for programs, unless there is somebody to ask.
    let programs = &found.bundle.own_manifest().capabilities.programs;
    !wanted.may_ask && !wanted.allow
        || programs
            .iter()
            .all(|program| wanted.programs.contains(program))
}

/// What is asked of the user.
struct Question<'a> {
    found: &'a Found,
    digest: Digest,
    /// Why no signature counts.
    unsigned: String,
}

impl Question<'_> {
    /// What it is and what it may do, in lines.
    fn text(&self) -> String {
        let app = self.found.bundle.app();
        let capabilities = &self.found.bundle.own_manifest().capabilities;
        let mut lines = vec![format!(
            "{} {} from {}",
            app.name,
            app.version,
            self.found.shown()
        )];
        lines.push(format!("  {}; {}", self.digest, self.unsigned));
        let words = capabilities.in_words();
        if words.is_empty() {
            lines.push("  it asks for nothing beyond its sandboxes".to_owned());
        }
        lines.extend(words.iter().map(|word| format!("  it may {word}")));
        lines.join("\n")
    }

    fn put(&self) -> Result<bool, Failure> {
        render::note(&self.text());
        let mut err = io::stderr().lock();
        let asked = err.write_all(b"Run it, now and later? [y/N] ");
        let mut answer = String::new();
        asked
            .and_then(|()| err.flush())
            .and_then(|()| io::stdin().lock().read_line(&mut answer))
            .map_err(|error| Failure::new(ExitCode::Bundle, error))?;
        let answer = answer.trim();
        Ok(answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes"))
    }

    fn refused(&self) -> Failure {
        let error = format!("this bundle was not allowed yet: {}", self.text());
        Failure::new(ExitCode::Bundle, error)
            .hint("`--allow` runs it, and remembers that for this digest")
    }

    fn locked(&self) -> Failure {
        let error = format!("--locked refuses this bundle: {}", self.text());
        Failure::new(ExitCode::Bundle, error)
            .hint("it has to be signed by a known key (`--key`), or allowed before (`--allow`)")
    }
}

/// The known key that signed a bundle, or why there is none. A signature that does not fit is an error where the
/// user named the key.
fn signer(
    found: &Found,
    digest: &Digest,
    wanted: &Wanted,
) -> Result<Result<String, String>, Failure> {
    let keys = keys(wanted)?;
    let signatures = match &found.signatures {
        None if wanted.keys.is_empty() => return Ok(Err("not signed".to_owned())),
        None => {
            let error = format!("{}: it is not signed, and --key is given", found.shown());
            return Err(Failure::new(ExitCode::Bundle, error));
        }
        Some(Err(unreadable)) => {
            let error = format!("{}: {unreadable}", found.shown());
            return Err(Failure::new(ExitCode::Bundle, error));
        }
        Some(Ok(signatures)) => signatures,
    };
    match signatures.verify(digest, &keys) {
        Ok(key) => Ok(Ok(key.fingerprint())),
        Err(error) if is_unknown(&error) && wanted.keys.is_empty() => Ok(Err(error.to_string())),
        Err(error) => {
            let error = format!("{}: {error}", found.shown());
            Err(Failure::new(ExitCode::Bundle, error))
        }
    }
}

/// Whether there is nothing wrong with a signature but that nobody knows its key.
fn is_unknown(error: &SignatureError) -> bool {
    matches!(error, SignatureError::UnknownKey { .. })
}

/// Reads the signatures beside a bundle; none when there is no such file.
pub(super) fn beside(bundle: &Path) -> Option<Result<SignatureFile, String>> {
    let path = signatures::signature_path(bundle);
    let read = signatures::read(&path).map_err(|error| format!("{}: {error}", path.display()));
    read.transpose()
}

/// The keys that count: those that the command line names, and those of the user.
pub(crate) fn keys(wanted: &Wanted) -> Result<Vec<PublicKey>, Failure> {
    let mut keys = Vec::new();
    for path in &wanted.keys {
        let read = signatures::public_key(path).map_err(|reason| {
            let error = format!("--key {}: {reason}", path.display());
            Failure::new(ExitCode::Usage, error)
        })?;
        keys.push(read);
    }
    let Some(directory) = places::config().map(|config| config.join("keys")) else {
        return Ok(keys);
    };
    let Ok(entries) = fs::read_dir(&directory) else {
        return Ok(keys);
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "pem"))
        .collect();
    paths.sort();
    let others_may_write = |path: &Path| !places::is_own(path).unwrap_or(false);
    for path in paths {
        let read = if others_may_write(&directory) || others_may_write(&path) {
            Err("others than this user can write it".to_owned())
        } else {
            signatures::public_key(&path)
        };
        match read {
            Ok(key) => keys.push(key),
            Err(reason) => render::note(&format!(
                "{} the key {} does not count: {reason}",
                render::Style::for_stderr().warning("note:"),
                path.display()
            )),
        }
    }
    Ok(keys)
}

/// The file of what was allowed.
#[derive(Default, Serialize, Deserialize)]
struct AllowedFile {
    format: u32,
    allowed: BTreeMap<Digest, AllowedBundle>,
}

/// For people who look into the file: what they allowed.
#[derive(Serialize, Deserialize)]
struct AllowedBundle {
    app: String,
    version: String,
    capabilities: Vec<String>,
}

fn allowed_path() -> Option<PathBuf> {
    Some(places::config()?.join("allowed.json"))
}

fn read_allowed(path: &Path) -> Result<AllowedFile, Failure> {
    let wrong = |reason: &str| {
        let error = format!("read {}: {reason}", path.display());
        Failure::new(ExitCode::Bundle, error).hint("remove that file to allow bundles anew")
    };
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(AllowedFile::default());
        }
        Err(error) => return Err(wrong(&error.to_string())),
    };
    if !places::is_own(path).map_err(|error| wrong(&error.to_string()))? {
        return Err(wrong("others than this user can write it"));
    }
    let file: AllowedFile =
        serde_json::from_slice(&text).map_err(|error| wrong(&error.to_string()))?;
    if file.format == FORMAT {
        Ok(file)
    } else {
        let found = file.format;
        Err(wrong(&format!(
            "it has format {found}; this version reads format {FORMAT}"
        )))
    }
}

fn is_remembered(digest: &Digest) -> Result<bool, Failure> {
    match allowed_path() {
        Some(path) => Ok(read_allowed(&path)?.allowed.contains_key(digest)),
        None => Ok(false),
    }
}

/// Remembers that a bundle is allowed. Where there is no place for that it holds for this run.
pub(crate) fn remember(bundle: &Bundle) -> Result<(), Failure> {
    let Some(path) = allowed_path() else {
        return Ok(());
    };
    let written = |error: io::Error| {
        let error = format!("write {}: {error}", path.display());
        Failure::new(ExitCode::Bundle, error)
    };
    let directory = path.parent().unwrap_or(&path);
    fs::create_dir_all(directory).map_err(written)?;
    let _lock = places::lock(directory).map_err(written)?;
    let mut file = read_allowed(&path)?;
    file.format = FORMAT;
    let (app, manifest) = (bundle.app(), bundle.own_manifest());
    let allowed = AllowedBundle {
        app: app.name.clone(),
        version: app.version.clone(),
        capabilities: manifest.capabilities.in_words(),
    };
    file.allowed.insert(bundle.digest(), allowed);
    places::write_whole(&path, |out| {
        serde_json::to_writer_pretty(out, &file).map_err(io::Error::other)
    })
    .map_err(written)
}
