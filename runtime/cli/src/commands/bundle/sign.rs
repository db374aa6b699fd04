//! `bundle sign` and `bundle keygen`: signatures.

use super::open;
use crate::apps::signatures::{self, signature_path};
use crate::exit::{ExitCode, Failure};
use crate::{new_file, render};
use std::{
    fs,
    path::{Path, PathBuf},
};
use taps_bundle::{
    Digest,
    sign::{PublicKey, SigningKey, sign},
};

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
    /// Where the keys go: NAME.pem, the private one, and NAME.pub.pem.
    name: PathBuf,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let key = private_key(&arguments.key)?;
    let bundle = open(&arguments.bundle.to_string_lossy())?;
    let digest = bundle.digest();
    let place = write(
        &digest,
        &key,
        &arguments.bundle,
        arguments.output.as_deref(),
    )?;
    render::data(&format!(
        "{digest}\nsigned by {}: {}\n",
        key.public_key().fingerprint(),
        place.display()
    ))?;
    Ok(ExitCode::Ok)
}

pub(crate) fn keygen(arguments: &Keygen) -> Result<ExitCode, Failure> {
    let name = arguments.name.to_string_lossy();
    let name = name.strip_suffix(".pem").unwrap_or(&name);
    let (private, public) = (format!("{name}.pem"), format!("{name}.pub.pem"));
    for file in [&private, &public] {
        if fs::symlink_metadata(file).is_ok() {
            let error = format!("{file} is there already");
            return Err(Failure::new(ExitCode::Usage, error).hint("a key is never replaced"));
        }
    }
    let failed = |error| Failure::new(ExitCode::Runtime, error);
    let key = SigningKey::generate().map_err(failed)?;
    let public_key = key.public_key();
    let pem = key.to_pem().map_err(failed)?;
    new_file::bytes(Path::new(&private), 0o600, pem.as_bytes())?;
    let pem = public_key.to_pem().map_err(failed)?;
    new_file::bytes(Path::new(&public), 0o644, pem.as_bytes())?;
    render::data(&format!(
        "{private}  the private key: keep it to yourself\n{public}  the public key, {}: give it to \
         those who run your bundles\n",
        public_key.fingerprint()
    ))?;
    Ok(ExitCode::Ok)
}

/// Signs a bundle; gives the path of the file of signatures.
pub(super) fn write(
    digest: &Digest,
    key: &SigningKey,
    bundle: &Path,
    output: Option<&Path>,
) -> Result<PathBuf, Failure> {
    let place = output.map_or_else(|| signature_path(bundle), Path::to_owned);
    let mut file = sign(digest, key);
    // Signatures of what the bundle was before it was built again are worth nothing.
    let there = signatures::read(&place).map_err(|error| refused(&place, &error))?;
    if let Some(mut there) = there.filter(|there| there.bundle == *digest) {
        there.merge(file).map_err(|error| refused(&place, &error))?;
        file = there;
    }
    new_file::bytes(&place, 0o644, file.to_json().as_bytes())?;
    Ok(place)
}

/// Reads a private key.
pub(super) fn private_key(path: &Path) -> Result<SigningKey, Failure> {
    let pem = signatures::pem(path).map_err(|error| wrong_key(path, &error))?;
    SigningKey::from_pem(&pem).map_err(|error| wrong_key(path, &error))
}

/// Reads public keys.
pub(super) fn public_keys(paths: &[PathBuf]) -> Result<Vec<PublicKey>, Failure> {
    let key =
        |path: &PathBuf| signatures::public_key(path).map_err(|error| wrong_key(path, &error));
    paths.iter().map(key).collect()
}

fn wrong_key(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(ExitCode::Usage, format!("key {}: {error}", path.display()))
}

/// A file of signatures is no good.
fn refused(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(ExitCode::Bundle, format!("{}: {error}", path.display()))
}
