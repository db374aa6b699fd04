//! Files of signatures, which lie beside bundles, and of keys. Both are small, or refused.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};
use taps_bundle::{
    Digest,
    sign::{PublicKey, SIGNATURE_FILE_MAX_BYTES, SignatureFile},
};

/// A key is not longer than this in bytes.
const KEY_MAX_BYTES: usize = 64 << 10;

/// The file of signatures beside a bundle.
pub(crate) fn signature_path(bundle: &Path) -> PathBuf {
    bundle.with_added_extension("sig")
}

/// Reads a file of signatures, if it is there; else the reason without the path.
pub(crate) fn read(path: &Path) -> Result<Option<SignatureFile>, String> {
    // One byte more, so that what is too long is seen to be.
    let text = match start_of(path, SIGNATURE_FILE_MAX_BYTES + 1) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| error.to_string())?,
    };
    let file = SignatureFile::from_json(&text).map_err(|error| error.to_string())?;
    Ok(Some(file))
}

/// The same, and they have to be of that bundle.
pub(crate) fn read_of(path: &Path, bundle: &Digest) -> Result<Option<SignatureFile>, String> {
    match read(path)? {
        Some(file) if file.bundle != *bundle => Err(format!(
            "it is of the bundle {}, and this is {bundle}",
            file.bundle
        )),
        read => Ok(read),
    }
}

/// Reads a public key; else the reason without the path.
pub(crate) fn public_key(path: &Path) -> Result<PublicKey, String> {
    PublicKey::from_pem(&pem(path)?).map_err(|error| error.to_string())
}

/// Reads the text of a key; else the reason without the path.
pub(crate) fn pem(path: &Path) -> Result<String, String> {
    let bytes = start_of(path, KEY_MAX_BYTES).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| "it is no text; expected PEM".to_owned())
}

fn start_of(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(most as u64)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
