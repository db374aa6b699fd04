//! Components of unknown origin: what they say of themselves, and why they are refused.

use crate::{bench::description, guest::Guest};
use std::{
    error::Error as _,
    fmt::Write as _,
    time::{Duration, Instant},
};
use taps_bundle::{Bundle, BundleError, Digest, Source};
use taps_sandbox::{Interrupt, PoolSize, Sandbox, SandboxError, TaskRuntime};
use taps_schema::AppDescription;

fn sandbox() -> Sandbox {
    let size = PoolSize {
        workers: 1,
        per_worker: 1,
    };
    Sandbox::new(size, None).expect("a thread can be started")
}

fn describe(guest: &Guest) -> Result<AppDescription, SandboxError> {
    sandbox().describe("app.wasm", &guest.wasm())
}

fn describe_text(text: &str) -> Result<AppDescription, SandboxError> {
    let wasm = wat::parse_str(text).expect("a component");
    sandbox().describe("app.wasm", &wasm)
}

/// All messages of an error, joined.
fn chain(error: &SandboxError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A guest that describes itself with this JSON.
fn saying(json: &str) -> Guest {
    let mut stores = String::new();
    for (index, byte) in json.bytes().enumerate() {
        let at = 0x2_0000 + index;
        let _ = write!(stores, "(i32.store8 (i32.const {at}) (i32.const {byte}))");
    }
    let body = format!(
        "{stores} (i32.store (i32.const 64) (i32.const 0x20000))
         (i32.store (i32.const 68) (i32.const {})) (i32.const 64)",
        json.len()
    );
    Guest::new(&[("fine", "(call $ok)")]).describe(&body)
}

#[test]
fn a_description_is_read() {
    let json = serde_json::to_string(&description(["fine"].into_iter(), &[], &[]));
    let described = describe(&saying(&json.expect("plain data"))).expect("it is sound");
    assert_eq!((&*described.name, described.tasks.len()), ("hand-made", 1));
}

#[test]
fn nonsense_is_refused() {
    for json in ["", "{", "[]", "{\"name\": 1}", "null"] {
        let error = describe(&saying(json)).expect_err("not a description");
        assert!(
            matches!(error, SandboxError::BadDescription { .. }),
            "{json}: {error:?}"
        );
    }
}

#[test]
fn a_component_that_traps_while_describing_is_refused() {
    for (body, words) in [
        ("unreachable", "unreachable"),
        ("(call $exit (i32.const 1)) (i32.const 0)", "exit"),
        (
            "(drop (memory.grow (i32.const 8192))) (i32.const 64)",
            "limit",
        ),
        ("(i32.const -4)", ""),
        (
            // A string that ends outside of memory.
            "(i32.store (i32.const 64) (i32.const 0x20000)) (i32.store (i32.const 68) (i32.const -1)) (i32.const 64)",
            "",
        ),
        // Payloads have no place here.
        (
            "(call $copy (i32.const 0x20000) (i32.const 100000) (i32.const 64))
             (if (i32.load8_u (i32.const 64)) (then unreachable)) (i32.const 64)",
            "unreachable",
        ),
    ] {
        let guest = Guest::new(&[]).describe(body);
        let error = describe(&guest).expect_err("it fails");
        assert!(
            matches!(error, SandboxError::Describe { .. }),
            "{body}: {error:?}"
        );
        assert!(chain(&error).contains(words), "{body}: {}", chain(&error));
    }
}

#[test]
fn a_component_that_never_answers_is_refused_in_time() {
    let began = Instant::now();
    thread_each(&[
        "(loop $for-ever (br $for-ever)) (unreachable)",
        "(call $sleep (i64.const -1)) (unreachable)",
    ]);
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
}

fn thread_each(bodies: &[&str]) {
    std::thread::scope(|scope| {
        for body in bodies {
            scope.spawn(move || {
                let error = describe(&Guest::new(&[]).describe(body)).expect_err("it never ends");
                assert!(chain(&error).contains("time limit"), "{}", chain(&error));
            });
        }
    });
}

#[test]
fn what_is_no_component_is_refused_by_name() {
    let sandbox = sandbox();
    for (bytes, words) in [
        (&b""[..], "app.wasm"),
        (b"#!/bin/sh\n", "app.wasm"),
        (b"\0asm", "app.wasm"),
    ] {
        let error = sandbox
            .describe("app.wasm", bytes)
            .expect_err("no component");
        assert!(matches!(error, SandboxError::Bundle(_)), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let module = wat::parse_str("(module)").expect("a module");
    let error = sandbox
        .describe("app.wasm", &module)
        .expect_err("a core module");
    assert!(
        matches!(error, SandboxError::Bundle(BundleError::CoreModule { .. })),
        "{error:?}"
    );
    let mut broken = Guest::new(&[]).wasm();
    broken.truncate(broken.len() - 10);
    let error = sandbox.describe("app.wasm", &broken).expect_err("cut off");
    assert!(matches!(error, SandboxError::Compile { .. }), "{error:?}");
}

#[test]
fn a_component_that_is_no_app_is_refused() {
    let error = describe_text("(component)").expect_err("no app");
    assert!(matches!(error, SandboxError::NotAnApp { .. }), "{error:?}");
    let other = r#"(component (import "wasi:random/random@0.2.0" (instance
        (export "get-random-u64" (func (result u64))))))"#;
    let error = describe_text(other).expect_err("no app");
    assert!(matches!(error, SandboxError::NotAnApp { .. }), "{error:?}");
}

#[test]
fn another_version_of_the_interface_is_named_with_ours() {
    for version in ["0.2.0", "0.9.7", "1.0.0"] {
        let text = format!(
            r#"(component (import "taps:core/context@{version}" (instance
                (export "seed" (func (result u64))))))"#
        );
        let error = describe_text(&text).expect_err("another version");
        assert!(
            matches!(error, SandboxError::WitVersion { .. }),
            "{error:?}"
        );
        let message = error.to_string();
        assert!(
            message.contains(version) && message.contains("0.1.0"),
            "{message}"
        );
    }
}

/// Patches of a version change nothing that matters.
#[test]
fn another_patch_of_the_version_is_the_same_interface() {
    let text = Guest::new(&[("fine", "(call $ok)")])
        .text()
        .replace("@0.1.0\"", "@0.1.7\"");
    let wasm = wat::parse_str(text).expect("a component");
    let app = description(["fine"].into_iter(), &[], &[]);
    let digest = Digest::of(&wasm);
    let bundle =
        Bundle::from_component(app, wasm.into(), digest, Source::Embedded).expect("it is sound");
    let sandbox = sandbox();
    let loaded = sandbox
        .load(&bundle, 0, Interrupt::Epoch)
        .expect("it compiles");
    runtime(loaded, &bundle).expect("it links");
}

#[test]
fn a_missing_export_is_named() {
    let text = Guest::new(&[])
        .text()
        .replace("(export \"taps:core/tasks@0.1.0\" (instance $tasks))", "")
        .replace(
            "(export \"taps:core/description@0.1.0\" (instance $description))",
            "",
        );
    let error = describe_text(&text).expect_err("nothing is exported");
    assert!(
        matches!(error, SandboxError::MissingExport { .. }),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("taps:core/description@0.1.0"),
        "{error}"
    );
}

/// A bundle of a component with one import more.
fn importing(import: &str) -> Result<Bundle, BundleError> {
    let text = Guest::new(&[("fine", "(call $ok)")]).text().replacen(
        "(component",
        &format!("(component {import}"),
        1,
    );
    let wasm = wat::parse_str(text).expect("a component");
    let app = description(["fine"].into_iter(), &[], &[]);
    let digest = Digest::of(&wasm);
    Bundle::from_component(app, wasm.into(), digest, Source::Embedded)
}

/// Found when the bundle is made, before anything is compiled.
#[test]
fn an_unknown_import_is_named_before_anything_is_compiled() {
    for (import, name) in [
        (
            r#"(import "taps:core/telepathy@0.1.0" (instance (export "send" (func))))"#,
            "taps:core/telepathy@0.1.0",
        ),
        (
            r#"(import "example:other/things@1.2.3" (instance (export "do" (func))))"#,
            "example:other/things@1.2.3",
        ),
    ] {
        let error = importing(import).expect_err("nobody offers it");
        assert!(matches!(error, BundleError::Import { .. }), "{error:?}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

/// Found when the component is linked, before any task runs.
#[test]
fn an_unknown_function_is_named_before_any_task_runs() {
    let import =
        r#"(import "taps:core/context@0.1.1" (instance (export "mind" (func (result u64)))))"#;
    let bundle = importing(import).expect("the interface is known");
    let sandbox = sandbox();
    let loaded = sandbox
        .load(&bundle, 0, Interrupt::Epoch)
        .expect("it compiles");
    let error = runtime(loaded, &bundle).err().expect("it does not link");
    assert!(matches!(error, SandboxError::Link { .. }), "{error:?}");
    assert!(chain(&error).contains("mind"), "{}", chain(&error));
}

fn runtime(
    loaded: taps_sandbox::LoadedComponent,
    bundle: &Bundle,
) -> Result<TaskRuntime, SandboxError> {
    let run = taps_sandbox::RunContext {
        start: Instant::now(),
        store: taps_payload::SegmentStore::new(taps_payload::StoreOptions::default())
            .expect("memfds work"),
        sink: Box::new(crate::bench::Heard::default()),
        grants: Vec::new(),
        environment: Vec::new(),
        inline_max_bytes: 64 << 10,
        map_min_bytes: 0,
        verify_payloads: false,
        data: None,
        programs: None,
    };
    TaskRuntime::new(
        vec![loaded],
        bundle.manifest(),
        std::sync::Arc::new(run),
        taps_sandbox::InstancePolicy::Fresh,
    )
}
