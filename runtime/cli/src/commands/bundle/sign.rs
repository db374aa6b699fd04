//! `bundle sign` and `bundle keygen`: signatures.

use super::{open, output};
use crate::apps::cache::signature_path;
use crate::exit::{ExitCode, Failure};
use crate::render;
use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};
use taps_bundle::{
    Digest,
    sign::{PublicKey, SIGNATURE_FILE_MAX_BYTES, SignatureFile, SigningKey, sign},
};

/// A key is not longer than this in bytes.
const KEY_MAX_BYTES: u64 = 64 << 10;

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
    output::bytes(Path::new(&private), 0o600, pem.as_bytes())?;
    let pem = public_key.to_pem().map_err(failed)?;
    output::bytes(Path::new(&public), 0o644, pem.as_bytes())?;
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
    if let Some(mut there) = read(&place)?.filter(|there| there.bundle == *digest) {
        there.merge(file).map_err(|error| refused(&place, &error))?;
        file = there;
    }
    output::bytes(&place, 0o644, file.to_json().as_bytes())?;
    Ok(place)
}

/// Reads a file of signatures, if it is there.
pub(super) fn read(path: &Path) -> Result<Option<SignatureFile>, Failure> {
    let bytes = match limited(path, SIGNATURE_FILE_MAX_BYTES as u64 + 1) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(path, &error)),
    };
    let file = SignatureFile::from_json(&bytes).map_err(|error| refused(path, &error))?;
    Ok(Some(file))
}

/// Reads a private key.
pub(super) fn private_key(path: &Path) -> Result<SigningKey, Failure> {
    SigningKey::from_pem(&pem(path)?).map_err(|error| wrong_key(path, &error))
}

/// Reads public keys.
pub(super) fn public_keys(paths: &[PathBuf]) -> Result<Vec<PublicKey>, Failure> {
    let key =
        |path: &PathBuf| PublicKey::from_pem(&pem(path)?).map_err(|error| wrong_key(path, &error));
    paths.iter().map(key).collect()
}

fn pem(path: &Path) -> Result<String, Failure> {
    let bytes = limited(path, KEY_MAX_BYTES).map_err(|error| wrong_key(path, &error))?;
    String::from_utf8(bytes).map_err(|_| wrong_key(path, &"it is no text; expected PEM"))
}

fn limited(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn wrong_key(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(ExitCode::Usage, format!("key {}: {error}", path.display()))
}

/// A file of signatures is no good.
pub(super) fn refused(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(ExitCode::Bundle, format!("{}: {error}", path.display()))
}
