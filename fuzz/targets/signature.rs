//! Files of signatures and keys from anywhere: nothing that is not signed counts as signed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use taps_bundle::{
    Digest,
    sign::{PublicKey, SignatureFile, SigningKey, sign},
};

/// The example key of RFC 8410.
static KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    let body = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC";
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    SigningKey::from_pem(&pem).expect("a key")
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = SigningKey::from_pem(text);
        if let Ok(key) = PublicKey::from_pem(text) {
            let pem = key.to_pem().expect("a key");
            assert_eq!(PublicKey::from_pem(&pem).expect("a key"), key);
        }
    }
    let Ok(mut file) = SignatureFile::from_json(bytes) else {
        return;
    };
    let (digest, key) = (Digest::of(b"a bundle"), KEY.public_key());
    let keys = [key.clone()];
    let sound = sign(&digest, &KEY);
    let verified = file.verify(&digest, &keys).is_ok();
    let signers = file.check(&digest, &keys);
    assert_eq!(
        verified,
        signers.iter().any(|signer| signer.sound && signer.known)
    );
    // The signature of a message is one and the same, and nobody else knows the key.
    let genuine = |file: &SignatureFile| {
        file.bundle == digest
            && file
                .signatures
                .iter()
                .any(|one| one.signature == sound.signatures[0].signature)
    };
    assert!(!verified || genuine(&file));
    let _ = file.signers();
    let again =
        SignatureFile::from_json(file.to_json().as_bytes()).expect("what is written is read");
    assert_eq!(file, again);
    if file.merge(sound).is_ok() {
        file.verify(&digest, &keys).expect("it was signed just now");
    }
});
