//! The corpus of the fuzz targets: what this crate writes, byte for byte.
//! `TAPS_WRITE_CORPUS=1 cargo test --test bundle corpus` writes it anew.

use crate::making::{bundle, driver, fixture, packed, read, tasks};
use std::{collections::BTreeMap, env, fs, path::Path};
use taps_bundle::{
    Digest, Manifest, Packing, scan,
    sign::{PublicKey, SignatureFile, SigningKey, sign},
};

fn files() -> BTreeMap<&'static str, Vec<u8>> {
    let key = SigningKey::from_pem(crate::signatures::PRIVATE).expect("a key");
    let public = key.public_key().to_pem().expect("PEM");
    let bundle = bundle();
    BTreeMap::from([
        ("archive/plain", packed(&bundle, Packing::Plain)),
        ("archive/zstd", packed(&bundle, Packing::Zstd)),
        ("component/driver", driver()),
        ("component/tasks", tasks()),
        ("manifest/format-1", fixture("manifest-1.json").into()),
        ("manifest/format-2", bundle.manifest().to_json().into()),
        (
            "signature/file",
            sign(&Digest::of(b"a bundle"), &key).to_json().into(),
        ),
        ("signature/private-key", key.to_pem().expect("PEM").into()),
        ("signature/public-key", public.into()),
    ])
}

#[test]
fn the_corpus_is_what_is_written_now() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, bytes) in files() {
        let path = place.join(name);
        if env::var_os("TAPS_WRITE_CORPUS").is_some() {
            fs::create_dir_all(path.parent().expect("a folder")).expect("create");
            fs::write(&path, &bytes).expect("write");
        }
        let there = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(
            there == bytes,
            "{} is not what is written now",
            path.display()
        );
    }
}

/// Each target begins with what it gets far with.
#[test]
fn the_corpus_is_sound() {
    for (name, bytes) in files() {
        let text = String::from_utf8_lossy(&bytes);
        match name {
            "signature/file" => drop(SignatureFile::from_json(&bytes).expect("sound")),
            "signature/private-key" => drop(SigningKey::from_pem(&text).expect("sound")),
            "signature/public-key" => drop(PublicKey::from_pem(&text).expect("sound")),
            _ if name.starts_with("archive/") => drop(read(&bytes).expect("sound")),
            _ if name.starts_with("component/") => drop(scan(name, &bytes).expect("sound")),
            _ => drop(Manifest::from_json(&bytes, Path::new(name)).expect("sound")),
        }
    }
}
