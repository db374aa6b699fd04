//! Files that are no app, or not one for this program.

use crate::harness::{Place, probe, snapshot};
use std::fs;

/// Refuses this file as an app; gives what it says. Nothing is written.
#[track_caller]
fn refused(content: impl AsRef<[u8]>) -> String {
    let place = Place::new();
    place.write("app.wasm", content);
    let ended = place.run(&["./app.wasm"]);
    ended.expect(4);
    assert_eq!(place.names(), ["app.wasm"]);
    // Describing and helping refuse it alike.
    assert_eq!(
        place.call(["describe", "./app.wasm"]).expect(4).stderr,
        ended.stderr
    );
    assert_eq!(
        place.run(&["./app.wasm", "--help"]).expect(4).stderr,
        ended.stderr
    );
    ended.stderr
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("sound text")
}

/// The probe, with every occurrence of a text replaced by another of its length.
fn patched(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs::read(probe()).expect("read the probe");
    let (from, to) = (from.as_bytes(), to.as_bytes());
    let mut found = 0;
    for start in 0..=bytes.len() - from.len() {
        if bytes[start..].starts_with(from) {
            bytes[start..start + to.len()].copy_from_slice(to);
            found += 1;
        }
    }
    assert!(found > 0, "the probe has it");
    bytes
}

#[test]
fn what_is_not_wasm() {
    snapshot!("not_wasm", refused("#!/bin/sh\necho hello\n"));
    snapshot!("empty_file", refused(""));
    refused(b"\0asm");
}

#[test]
fn a_core_module() {
    snapshot!(refused(wat("(module (func (export \"run\")))")));
}

#[test]
fn a_component_that_is_no_taps_app() {
    snapshot!("empty_component", refused(wat("(component)")));
    let command = r#"(component
        (import "wasi:cli/environment@0.2.0" (instance (export "get-arguments" (func (result (list string)))))))"#;
    snapshot!("component_of_another_world", refused(wat(command)));
}

#[test]
fn a_component_that_lacks_an_export() {
    let text = r#"(component
        (import "taps:core/context@0.1.0" (instance (export "seed" (func (result u64))))))"#;
    snapshot!(refused(wat(text)));
}

#[test]
fn a_component_whose_export_is_of_another_type() {
    let text = r#"(component
        (core module $module (func (export "describe") (result i32) i32.const 7))
        (core instance $instance (instantiate $module))
        (func $describe (result u32) (canon lift (core func $instance "describe")))
        (instance $meta (export "describe" (func $describe)))
        (export "taps:core/meta@0.1.0" (instance $meta)))"#;
    snapshot!(refused(wat(text)));
}

#[test]
fn a_component_for_another_version() {
    let said = refused(patched("@0.1.0", "@0.9.0"));
    assert!(said.contains("0.9.0") && said.contains("0.1.0"), "{said}");
    snapshot!(said);
}

#[test]
fn damaged_components_are_refused_without_a_panic() {
    let whole = fs::read(probe()).expect("read the probe");
    for length in [8, 9, 100, whole.len() / 2, whole.len() - 1] {
        refused(&whole[..length]);
    }
}

#[test]
fn paths_that_are_no_files() {
    let place = Place::new();
    fs::create_dir(place.path().join("folder")).expect("create");
    place.write("file", "");
    snapshot!(
        "no_such_file",
        place.run(&["./nothing.wasm"]).expect(4).text()
    );
    snapshot!(
        "a_directory_without_manifest",
        place.run(&["./folder"]).expect(4).text()
    );
    place.run(&["./file/below.wasm"]).expect(4);
    assert_eq!(place.names(), ["file", "folder"]);
}
