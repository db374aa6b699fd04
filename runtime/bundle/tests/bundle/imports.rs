//! What components import, and what a manifest must say of it.

use crate::making::{archive_of, archive_with, component, driver, manifest, refused, tasks};
use serde_json::{Value, json};
use taps_bundle::{Package, scan};

#[test]
fn a_scan_finds_what_a_component_takes_and_gives() {
    let found = scan("tasks", &tasks()).expect("a component");
    assert_eq!(
        found.imports,
        ["taps:core/kernels@0.1.0", "taps:core/payloads@0.1.0"]
    );
    assert_eq!(found.exports, ["taps:core/tasks@0.1.0"]);
    let needs = found.needs;
    assert_eq!(
        (needs.core_instances, needs.memories, needs.tables),
        (1, 1, 1)
    );
    assert!(
        (2000..2020).contains(&found.data_bytes),
        "{}",
        found.data_bytes
    );
}

#[test]
fn modules_and_components_within_are_counted_as_often_as_they_are_used() {
    let text = "(component
        (component $inner
          (core module $m (memory 1) (memory 1) (data (i32.const 0) \"0123456789\"))
          (core instance (instantiate $m))
          (core instance (instantiate $m)))
        (instance (instantiate $inner))
        (instance (instantiate $inner))
        (core module $unused (table 1 funcref)))";
    let found = scan("x", &wat::parse_str(text).expect("sound text")).expect("a component");
    let needs = found.needs;
    assert_eq!(
        (needs.core_instances, needs.memories, needs.tables),
        (4, 8, 0)
    );
    assert!(
        (10..30).contains(&found.data_bytes),
        "once for each module: {}",
        found.data_bytes
    );
}

#[test]
fn what_is_cut_off_is_no_panic() {
    let whole = component(
        &["taps:core/payloads@0.1.0"],
        &["taps:core/tasks@0.1.0"],
        500,
    );
    for length in 8..whole.len() {
        if let Ok(found) = scan("x", &whole[..length]) {
            assert!(found.data_bytes <= 520);
        }
    }
    let mut deep = "(core module)".to_owned();
    for _ in 0..40 {
        deep = format!("(component {deep})");
    }
    let message = scan("x", &wat::parse_str(&deep).expect("sound text"))
        .expect_err("too deep")
        .to_string();
    assert!(message.contains("deep"), "{message}");
}

#[test]
fn packages_are_told_apart() {
    for (import, package) in [
        ("taps:core/payloads@0.1.0", Package::Core),
        ("taps:core/kernels@0.1.0", Package::Kernels),
        ("taps:core/program@0.1.0", Package::Program),
        ("taps:core/backdoor@0.1.0", Package::Unknown),
        ("wasi:cli/environment@0.2.6", Package::Baseline),
        ("wasi:http/outgoing-handler@0.2.6", Package::Unknown),
        ("wasi:clocksmith/x", Package::Unknown),
        ("other:package/thing", Package::Unknown),
        ("plain-name", Package::Unknown),
    ] {
        assert_eq!(Package::of(import), package, "{import}");
    }
}

/// The archive of a bundle whose first component imports this, and whose manifest lists it or hides it.
fn importing(import: &str, listed: bool) -> Vec<u8> {
    let words = b"one two three\n";
    let sound = [driver(), tasks()];
    let mut imports = vec!["taps:core/engine@0.1.0", "taps:core/payloads@0.1.0"];
    imports.push(import);
    let exports = ["taps:core/description@0.1.0", "taps:core/driver@0.1.0"];
    let parts = [component(&imports, &exports, 100), tasks()];
    let of = if listed { &parts } else { &sound };
    let mut text: Value = serde_json::from_str(&manifest(of, words).to_json()).expect("JSON");
    text["components"][0]["digest"] = taps_bundle::Digest::of(&parts[0]).to_string().into();
    text["components"][0]["size"] = parts[0].len().into();
    archive_of(
        text.to_string().as_bytes(),
        &[
            ("word-count.wasm", "application/wasm", &parts[0]),
            ("word-count-tasks.wasm", "application/wasm", &parts[1]),
            ("texts/words.txt", "text/plain", words),
        ],
    )
}

#[test]
fn an_import_that_the_manifest_hides_is_refused() {
    for import in [
        "wasi:cli/environment@0.2.6",
        "wasi:http/types@0.2.6",
        "taps:core/program@0.1.0",
    ] {
        let message = refused(&importing(import, false));
        let expected = format!("word-count.wasm imports {import}, which the manifest hides");
        assert!(message.contains(&expected), "{message}");
    }
    crate::making::read(&importing("wasi:cli/environment@0.2.6", true)).expect("sound");
}

#[test]
fn an_import_that_no_host_offers_is_refused() {
    for import in [
        "wasi:http/outgoing-handler@0.2.6",
        "other:package/thing@1.0.0",
        "taps:core/backdoor@0.1.0",
        "anything",
    ] {
        let message = refused(&importing(import, true));
        let expected = format!("imports {import}, which taps-wasm does not offer");
        assert!(message.contains(&expected), "{message}");
    }
    let message = refused(&importing("taps:core/context@0.9.0", true));
    assert!(
        message.contains("word-count.wasm speaks taps:core 0.9.0"),
        "{message}"
    );
}

#[test]
fn what_is_needed_has_to_be_declared() {
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 10] = [
        (
            |it| it["capabilities"]["programs"] = json!([]),
            "`capabilities.programs` lacks sort",
        ),
        (
            |it| it["capabilities"]["directories"] = json!([]),
            "`capabilities.directories` lacks words",
        ),
        (
            |it| it["capabilities"]["kernels"] = false.into(),
            "`capabilities.kernels` lacks true",
        ),
        (
            |it| it["capabilities"]["network"] = true.into(),
            "gives no app the network",
        ),
        (
            |it| it["components"][0]["core_instances"] = 0.into(),
            "needs 1 core instances",
        ),
        (
            |it| it["components"][0]["memories"] = 0.into(),
            "needs 1 memories",
        ),
        (
            |it| it["components"][1]["tables"] = 0.into(),
            "needs 1 tables",
        ),
        (
            |it| it["routes"][0]["component"] = 0.into(),
            "word-count.wasm does not export taps:core/tasks",
        ),
        (
            |it| it["components"].as_array_mut().expect("a list").swap(0, 1),
            "where the manifest has",
        ),
        (
            |it| {
                it.as_object_mut().expect("a table").remove("capabilities");
            },
            "lacks sort",
        ),
    ];
    for (change, expected) in changes {
        let message = refused(&archive_with(change));
        assert!(message.contains(expected), "`{expected}` in {message}");
    }
}

#[test]
fn capabilities_are_told_in_plain_words() {
    let words = crate::making::bundle().manifest().capabilities.in_words();
    assert_eq!(
        words,
        [
            "run the program `sort` of this machine",
            "use the path that you give as `app.words`",
            "compute dense linear algebra at native speed in the host",
            "use up to 512 MiB of memory in a sandbox",
            "run a task for up to 60 s",
        ]
    );
}
