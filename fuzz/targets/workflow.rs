//! Workflows in WfFormat from anywhere: refused by the field that names them, or replayed with every check passed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{cell::RefCell, fs::File, os::fd::AsRawFd, os::unix::fs::FileExt};
// The app registers itself.
use taps_synthetic as _;

thread_local! {
    /// What the app opens by the name of its descriptor.
    static INSTANCE: RefCell<File> = RefCell::new(tempfile::tempfile().expect("a file"));
}

fn write(text: &[u8]) -> String {
    INSTANCE.with_borrow(|file| {
        file.set_len(0).expect("it is cleared");
        file.write_all_at(text, 0).expect("it is written");
        format!("/proc/self/fd/{}", file.as_raw_fd())
    })
}

fuzz_target!(|text: &[u8]| {
    let app = taps::apps().find(|app| app.name == "synthetic");
    let app = app.expect("it is linked");
    // Any sizes and durations, within what a fuzzer has time for.
    let config = serde_json::json!({
        "structure": "replay",
        "instance": write(text),
        "kernel": "empty",
        "replay_data_scale": 1e-15,
        "replay_max_bytes": 1000,
    });
    match taps::testing::run_app(app, &config) {
        Ok(report) => assert!(report.passed(), "{report:?}"),
        Err(error) => {
            let field = error.to_driver_error().field;
            assert_eq!(field.as_deref(), Some("instance"), "{error}");
        }
    }
});
