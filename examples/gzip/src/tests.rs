//! The whole app with the real program, run locally.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use serde_json::json;
use taps::Error;

use crate::APP;

/// Text that can be compressed.
fn text() -> String {
    let lines: Vec<_> = (0..40_000)
        .map(|number| format!("line {number}\n"))
        .collect();
    lines.concat()
}

#[test]
fn a_file_is_compressed_in_blocks_and_is_one_gzip_file() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("text");
    std::fs::write(&file, text()).unwrap();
    for (block_kib, blocks) in [(100, 5), (8192, 1)] {
        let config = json!({ "file": file, "block_kib": block_kib, "output_dir": place.path() });
        let report = taps::testing::run_app(&APP, &config).unwrap();
        assert!(report.passed(), "{report:?}");
        assert_eq!(report.checks[0].value, json!(blocks));
        let compressed = place.path().join("compressed.gz");
        let bytes = std::fs::metadata(&compressed).unwrap().len();
        assert!(bytes < text().len() as u64 / 3, "{bytes} bytes");
        assert!(
            report
                .values
                .contains(&("compressed_bytes".to_owned(), json!(bytes)))
        );
        let restored = Command::new("gzip")
            .arg("-dc")
            .arg(&compressed)
            .output()
            .unwrap();
        assert!(restored.status.success());
        assert_eq!(restored.stdout, text().as_bytes());
    }
}

#[test]
fn a_block_that_is_not_what_it_was_is_found() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("text");
    std::fs::write(&file, "some text").unwrap();
    let checks = taps::testing::run(|engine| {
        let file = engine.input_file(file.to_str().unwrap())?;
        let good = engine.submit(crate::compress::call(&file, 0_u64, 9_u32))?;
        let check = |length: u32, block: taps::Argument| {
            engine
                .submit(crate::check_block::call(&file, 0_u64, length, block))?
                .result()
        };
        let bad = taps::Argument::Inline(b"no gzip".to_vec());
        Ok([
            check(9, good.as_argument())?,
            check(8, good.as_argument())?,
            check(9, bad)?,
        ])
    });
    assert_eq!(checks.unwrap(), [true, false, false]);
}

#[test]
fn an_empty_file_is_refused_by_name() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("empty");
    std::fs::write(&file, "").unwrap();
    let config = json!({ "file": file, "output_dir": place.path() });
    let error = taps::testing::run_app(&APP, &config).unwrap_err();
    assert!(
        matches!(&error, Error::Config { field, .. } if field == "file"),
        "{error}"
    );
}
