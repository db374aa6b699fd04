//! Signatures: who signed what, and everything that is no signature of it.

use proptest::{collection::vec, prelude::*};
use std::slice::from_ref;
use taps_bundle::{
    Digest,
    sign::{PublicKey, SignatureError, SignatureFile, SigningKey, message, sign},
};

/// The example keys of RFC 8410.
pub(crate) const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

fn digest() -> Digest {
    Digest::of(b"a bundle")
}

fn keys() -> (SigningKey, PublicKey) {
    let key = SigningKey::generate().expect("random bytes");
    let public = key.public_key();
    (key, public)
}

#[test]
fn what_is_signed_is_verified() {
    let (key, public) = keys();
    let file = sign(&digest(), &key);
    let read = SignatureFile::from_json(file.to_json().as_bytes()).expect("readable");
    assert_eq!(read, file);
    let (_, other) = keys();
    let found = read.verify(&digest(), &[other.clone(), public.clone()]);
    assert_eq!(found.expect("signed"), public);
    let signers = read.check(&digest(), &[other]);
    assert!(signers[0].sound && !signers[0].known, "{signers:?}");
    assert_eq!(
        signers[0].fingerprint.as_deref(),
        Some(&*public.fingerprint())
    );
    let signers = read.check(&digest(), &[public]);
    assert!(signers[0].sound && signers[0].known, "{signers:?}");
}

#[test]
fn what_is_signed_is_the_text_of_the_digest() {
    let text = String::from_utf8(message(&digest())).expect("text");
    assert_eq!(
        text,
        format!("taps-wasm bundle v1\nsha256:{}\n", digest().to_hex())
    );
}

#[test]
fn keys_are_those_of_the_standard() {
    let key = SigningKey::from_pem(PRIVATE).expect("a key");
    let public = PublicKey::from_pem(PUBLIC).expect("a key");
    assert_eq!(key.public_key(), public);
    assert_eq!(key.to_pem().expect("PEM"), PRIVATE);
    assert_eq!(public.to_pem().expect("PEM"), PUBLIC);
    assert_eq!(
        public.to_hex(),
        "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"
    );
    assert!(
        !format!("{key:?}").contains("d4ee72db"),
        "the private half is never shown"
    );
}

/// Found by the fuzzer: one reader took them for the key, and the other did not.
#[test]
fn large_digits_name_the_same_key() {
    let (key, public) = keys();
    let mut file = sign(&digest(), &key);
    file.signatures[0].key.make_ascii_uppercase();
    assert_eq!(
        file.verify(&digest(), from_ref(&public)).expect("signed"),
        public
    );
    let signers = file.check(&digest(), from_ref(&public));
    assert!(signers[0].sound && signers[0].known);
    file.merge(sign(&digest(), &key))
        .expect("of the same bundle");
    assert_eq!(file.signatures.len(), 1, "by one key, one signature");
}

#[test]
fn another_key_is_refused() {
    let (key, public) = keys();
    let (_, other) = keys();
    let file = sign(&digest(), &key);
    let error = file.verify(&digest(), &[other]).expect_err("refused");
    assert!(matches!(
        error,
        SignatureError::UnknownKey { trusted: 1, .. }
    ));
    assert!(error.to_string().contains(&public.fingerprint()), "{error}");
    let error = file.verify(&digest(), &[]).expect_err("refused");
    assert!(matches!(
        error,
        SignatureError::UnknownKey { trusted: 0, .. }
    ));
}

#[test]
fn another_bundle_is_refused() {
    let (key, public) = keys();
    let mut file = sign(&digest(), &key);
    let other = Digest::of(b"another bundle");
    let error = file.verify(&other, from_ref(&public)).expect_err("refused");
    let text = error.to_string();
    assert!(
        text.contains(&other.to_string()) && text.contains(&digest().to_string()),
        "{text}"
    );
    assert!(!file.check(&other, from_ref(&public))[0].sound);
    // Nor does it help to write the other digest into the file.
    file.bundle = other;
    let error = file.verify(&other, from_ref(&public)).expect_err("refused");
    assert!(matches!(error, SignatureError::Wrong { .. }), "{error}");
    let signers = file.check(&other, &[public]);
    assert!(!signers[0].sound && signers[0].known, "{signers:?}");
}

#[test]
fn a_changed_signature_is_refused() {
    let (key, public) = keys();
    let file = sign(&digest(), &key);
    for text in ["", "AAAA", "!", &"A".repeat(88)] {
        let mut changed = file.clone();
        text.clone_into(&mut changed.signatures[0].signature);
        let error = changed
            .verify(&digest(), from_ref(&public))
            .expect_err("refused");
        assert!(matches!(error, SignatureError::Wrong { .. }), "{error}");
    }
    let mut stolen = file;
    stolen.signatures[0].key = keys().1.to_hex();
    assert!(!stolen.check(&digest(), &[])[0].sound);
    stolen.signatures[0].key = "xyz".to_owned();
    let signers = stolen.check(&digest(), &[public]);
    assert_eq!((signers[0].sound, &signers[0].fingerprint), (false, &None));
}

/// With a key of small order a signature may hold for any message.
#[test]
fn weak_keys_sign_nothing() {
    let mut file = sign(&digest(), &keys().0);
    let identity = format!("01{}", "0".repeat(62));
    file.signatures[0].key = identity;
    let bytes = [&[1_u8][..], &[0; 63]].concat();
    file.signatures[0].signature =
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
    assert!(!file.check(&digest(), &[])[0].sound);
}

#[test]
fn signatures_of_several_keys_are_kept_together() {
    let (one, one_public) = keys();
    let (two, two_public) = keys();
    let mut file = sign(&digest(), &one);
    file.merge(sign(&digest(), &two))
        .expect("of the same bundle");
    file.merge(sign(&digest(), &one))
        .expect("of the same bundle");
    assert_eq!(file.signatures.len(), 2);
    for public in [one_public, two_public] {
        assert_eq!(
            file.verify(&digest(), from_ref(&public)).expect("signed"),
            public
        );
    }
    let error = file
        .merge(sign(&Digest::of(b"other"), &one))
        .expect_err("of another");
    assert!(matches!(error, SignatureError::OtherBundle { .. }));
}

#[test]
fn files_that_are_none_are_refused_with_the_reason() {
    let (key, _) = keys();
    let sound = sign(&digest(), &key).to_json();
    for (text, expected) in [
        (String::new(), "file of signatures: EOF"),
        ("garbage".to_owned(), "file of signatures: expected"),
        (
            sound.replace("\"format\": 1", "\"format\": 2"),
            "format 2; this version reads format 1",
        ),
        (sound.replace("sha256:", "md5:"), "is no digest"),
        ("x".repeat(300_000), "has 300000 bytes; at most 262144"),
    ] {
        let error = SignatureFile::from_json(text.as_bytes()).expect_err("refused");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn keys_that_are_none_are_refused_with_the_reason() {
    for text in ["", "garbage", PUBLIC] {
        let error = SigningKey::from_pem(text).expect_err("refused");
        assert!(
            error.to_string().contains("expected PEM of PKCS #8"),
            "{error}"
        );
    }
    for text in ["", "garbage", PRIVATE] {
        let error = PublicKey::from_pem(text).expect_err("refused");
        assert!(
            error
                .to_string()
                .contains("expected PEM of an Ed25519 public key"),
            "{error}"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_panic(bytes in vec(any::<u8>(), 0..300), key in "[0-9a-f]{64}") {
        let public = SigningKey::from_pem(PRIVATE).expect("a key").public_key();
        if let Ok(file) = SignatureFile::from_json(&bytes) {
            let _ = file.verify(&digest(), from_ref(&public));
        }
        let mut file = sign(&digest(), &SigningKey::from_pem(PRIVATE).expect("a key"));
        file.signatures[0].key = key;
        prop_assert!(!file.check(&digest(), &[public])[0].sound);
    }
}
