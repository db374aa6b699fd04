//! Manifests from anywhere: read or refused, and read again as they are written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use taps_bundle::Manifest;

fuzz_target!(|text: &[u8]| {
    let path = Path::new("manifest.json");
    let Ok(manifest) = Manifest::from_json(text, path) else {
        return;
    };
    let checked = manifest.check();
    let written = manifest.to_json();
    let again = Manifest::from_json(written.as_bytes(), path).expect("what is written is read");
    assert_eq!(checked.is_ok(), again.check().is_ok());
    assert_eq!(manifest.app.name, again.app.name);
    assert_eq!(manifest.components, again.components);
    assert_eq!(manifest.capabilities, again.capabilities);
    assert_eq!(manifest.data, again.data);
    let _ = manifest.capabilities.in_words();
});
