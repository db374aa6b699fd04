//! Components from anywhere: what they import and need is found, or they are refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use taps_bundle::{ComponentEntry, scan};

fuzz_target!(|bytes: &[u8]| {
    let Ok(found) = scan("component", bytes) else {
        return;
    };
    assert!(found.imports.is_sorted() && found.exports.is_sorted());
    assert!(found.data_bytes <= bytes.len() as u64);
    let entry = ComponentEntry::of("component", bytes).expect("it was scanned before");
    assert_eq!(entry.imports, found.imports);
});
