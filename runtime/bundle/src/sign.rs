//! Signatures of bundles: Ed25519 over the digest of a bundle, in a file of their own.
//!
//! Keys are PEM files as OpenSSL writes and reads them (`openssl genpkey -algorithm ed25519`). What is signed is
//! the text of [`message`], so `openssl pkeyutl -verify -rawin` checks a signature as well.

use crate::Digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{
    Signer as _, VerifyingKey,
    pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes},
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Version of the file of signatures.
pub const SIGNATURE_FORMAT: u32 = 1;

/// Media type of a file of signatures.
pub const SIGNATURE_MEDIA_TYPE: &str = "application/vnd.taps-wasm.signature.v1+json";

/// A file of signatures is at most this long, in bytes.
pub const SIGNATURE_FILE_MAX_BYTES: usize = 256 << 10;

/// Why a key or a signature is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// No random bytes for a new key.
    #[error("make a key: the system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// The private key cannot be read or written.
    #[error("private key: {0}; expected PEM of PKCS #8 with an Ed25519 key")]
    PrivateKey(ed25519_dalek::pkcs8::Error),
    /// The public key cannot be read or written.
    #[error("public key: {0}; expected PEM of an Ed25519 public key")]
    PublicKey(String),
    /// The file of signatures is too long.
    #[error("the file of signatures has {size} bytes; at most {SIGNATURE_FILE_MAX_BYTES} are read")]
    TooLong {
        /// Its size in bytes.
        size: usize,
    },
    /// The file of signatures cannot be read.
    #[error("file of signatures: {0}")]
    Json(serde_json::Error),
    /// It was written by another version.
    #[error(
        "the file of signatures has format {found}; this version reads format {SIGNATURE_FORMAT}: update taps-wasm"
    )]
    Format {
        /// Format found.
        found: u32,
    },
    /// The signatures are of another bundle.
    #[error("the signatures are of the bundle {signed}, and this is {bundle}")]
    OtherBundle {
        /// The bundle at hand.
        bundle: Digest,
        /// The bundle that was signed.
        signed: Digest,
    },
    /// No signature is by one of the keys.
    #[error("signed by {signers}, and by none of the {trusted} known keys")]
    UnknownKey {
        /// Fingerprints of those who signed.
        signers: String,
        /// How many keys were tried.
        trusted: usize,
    },
    /// A signature that names a known key is wrong.
    #[error("the signature by {fingerprint} is wrong: the file was changed, or the key is another")]
    Wrong {
        /// Fingerprint of the key.
        fingerprint: String,
    },
}

/// The bytes that are signed for a bundle.
pub fn message(bundle: &Digest) -> Vec<u8> {
    format!("taps-wasm bundle v1\n{bundle}\n").into_bytes()
}

/// A key that signs.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A new key from the system's random bytes.
    pub fn generate() -> Result<Self, SignatureError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(SignatureError::Random)?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// Reads a private key.
    pub fn from_pem(pem: &str) -> Result<Self, SignatureError> {
        ed25519_dalek::SigningKey::from_pkcs8_pem(pem)
            .map(Self)
            .map_err(SignatureError::PrivateKey)
    }

    /// The private key as PEM, to be kept where only its owner reads it.
    pub fn to_pem(&self) -> Result<String, SignatureError> {
        // Without the public half, with which OpenSSL refuses the file.
        let pair = KeypairBytes {
            secret_key: self.0.to_bytes(),
            public_key: None,
        };
        pair.to_pkcs8_pem(ed25519_dalek::pkcs8::spki::der::pem::LineEnding::LF)
            .map(|pem| pem.to_string())
            .map_err(SignatureError::PrivateKey)
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey")
            .field(&self.public_key())
            .finish()
    }
}

/// A key that verifies.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a public key.
    pub fn from_pem(pem: &str) -> Result<Self, SignatureError> {
        VerifyingKey::from_public_key_pem(pem)
            .map(Self)
            .map_err(|error| SignatureError::PublicKey(error.to_string()))
    }

    /// The public key as PEM.
    pub fn to_pem(&self) -> Result<String, SignatureError> {
        self.0
            .to_public_key_pem(ed25519_dalek::pkcs8::spki::der::pem::LineEnding::LF)
            .map_err(|error| SignatureError::PublicKey(error.to_string()))
    }

    /// Reads what [`PublicKey::to_hex`] writes.
    fn from_hex(digits: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        VerifyingKey::from_bytes(&bytes).ok().map(Self)
    }

    /// The key in hexadecimal digits, as files of signatures name it.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0.as_bytes())
    }

    /// Short name of the key for people: SHA-256 of its 32 bytes, the first 16 hexadecimal digits in groups of four.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.0.as_bytes())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.to_hex())
    }
}

fn fingerprint(key: &[u8]) -> String {
    let digits = Digest::of(key).to_hex();
    let group = |index: usize| &digits[index * 4..index * 4 + 4];
    [group(0), group(1), group(2), group(3)].join("-")
}

/// The file of signatures of a bundle: `X.taps.sig` beside `X.taps`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureFile {
    /// Version of this format.
    pub format: u32,
    /// The bundle that is signed.
    pub bundle: Digest,
    /// The signatures.
    pub signatures: Vec<Signature>,
}

/// One signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The public key, in hexadecimal digits.
    pub key: String,
    /// The 64 bytes of the signature, in Base64.
    pub signature: String,
}

/// One who signed a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signer {
    /// The key as the file has it, in hexadecimal digits.
    pub key: String,
    /// Short name of the key; none if it is no key.
    pub fingerprint: Option<String>,
    /// Whether the signature is by that key and of the bundle.
    pub sound: bool,
    /// Whether the key is one of those that were asked for.
    pub known: bool,
}

/// Signs a bundle.
pub fn sign(bundle: &Digest, key: &SigningKey) -> SignatureFile {
    let signature = key.0.sign(&message(bundle));
    SignatureFile {
        format: SIGNATURE_FORMAT,
        bundle: *bundle,
        signatures: vec![Signature {
            key: key.public_key().to_hex(),
            signature: STANDARD.encode(signature.to_bytes()),
        }],
    }
}

impl SignatureFile {
    /// Reads a file of signatures.
    pub fn from_json(text: &[u8]) -> Result<Self, SignatureError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        if text.len() > SIGNATURE_FILE_MAX_BYTES {
            return Err(SignatureError::TooLong { size: text.len() });
        }
        let head: Head = serde_json::from_slice(text).map_err(SignatureError::Json)?;
        if head.format != SIGNATURE_FORMAT {
            return Err(SignatureError::Format { found: head.format });
        }
        serde_json::from_slice(text).map_err(SignatureError::Json)
    }

    /// The file as text.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self)
            .unwrap_or_else(|error| unreachable!("signatures are plain data: {error}"));
        text + "\n"
    }

    /// Adds the signatures of another file of the same bundle; one by the same key takes the place of the older one.
    pub fn merge(&mut self, other: Self) -> Result<(), SignatureError> {
        if other.bundle != self.bundle {
            return Err(SignatureError::OtherBundle {
                bundle: self.bundle,
                signed: other.bundle,
            });
        }
        for signature in other.signatures {
            // Hexadecimal digits, large or small.
            self.signatures
                .retain(|old| !old.key.eq_ignore_ascii_case(&signature.key));
            self.signatures.push(signature);
        }
        Ok(())
    }

    /// Finds a signature of the bundle by one of the keys, and gives that key.
    pub fn verify(&self, bundle: &Digest, keys: &[PublicKey]) -> Result<PublicKey, SignatureError> {
        if self.bundle != *bundle {
            return Err(SignatureError::OtherBundle {
                bundle: *bundle,
                signed: self.bundle,
            });
        }
        let mut wrong = None;
        for signature in &self.signatures {
            let named = PublicKey::from_hex(&signature.key);
            let Some(key) = keys.iter().find(|key| named.as_ref() == Some(*key)) else {
                continue;
            };
            if signature.is_by(key, bundle) {
                return Ok(key.clone());
            }
            wrong.get_or_insert(SignatureError::Wrong {
                fingerprint: key.fingerprint(),
            });
        }
        Err(wrong.unwrap_or_else(|| SignatureError::UnknownKey {
            signers: self.signers(),
            trusted: keys.len(),
        }))
    }

    /// Who signed a bundle, as the file says, and whether that is so. Wrong of all when it is of another bundle.
    pub fn check(&self, bundle: &Digest, known: &[PublicKey]) -> Vec<Signer> {
        let check = |signature: &Signature| {
            let key = PublicKey::from_hex(&signature.key);
            let is_of_bundle = self.bundle == *bundle;
            Signer {
                key: signature.key.clone(),
                fingerprint: key.as_ref().map(PublicKey::fingerprint),
                sound: is_of_bundle && key.as_ref().is_some_and(|key| signature.is_by(key, bundle)),
                known: key.is_some_and(|key| known.contains(&key)),
            }
        };
        self.signatures.iter().map(check).collect()
    }

    /// Fingerprints of the keys that the file names, for messages.
    pub fn signers(&self) -> String {
        let name = |signature: &Signature| match hex::decode(&signature.key) {
            Ok(key) if key.len() == 32 => fingerprint(&key),
            _ => "what is no key".to_owned(),
        };
        let mut names: Vec<String> = self.signatures.iter().map(name).collect();
        names.dedup();
        if names.is_empty() {
            return "nobody".to_owned();
        }
        names.truncate(8);
        names.join(", ")
    }
}

impl Signature {
    fn is_by(&self, key: &PublicKey, bundle: &Digest) -> bool {
        let Ok(bytes) = STANDARD.decode(&self.signature) else {
            return false;
        };
        ed25519_dalek::Signature::from_slice(&bytes)
            .is_ok_and(|signature| key.0.verify_strict(&message(bundle), &signature).is_ok())
    }
}
