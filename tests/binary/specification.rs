//! `SPECIFICATION.md` names tests that exist.

use std::{fs, path::Path};

/// What stands between backticks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_tests_that_are_named_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join("SPECIFICATION.md")).expect("the specification");
    let mut file = String::new();
    let mut source = String::new();
    let mut count = 0;
    for span in spans(&text) {
        if let Some((named, test)) = span.split_once("::") {
            if !named.is_empty() {
                named.clone_into(&mut file);
                source = fs::read_to_string(root.join(&file))
                    .unwrap_or_else(|error| panic!("{file}: {error}"));
            }
            count += 1;
            assert!(
                source.contains(&format!("fn {test}(")),
                "there is no test {test} in {file}"
            );
        }
    }
    assert!(count > 100, "{count}");
    let promises: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("**P"))
        .collect();
    for (index, promise) in promises.iter().enumerate() {
        assert!(
            promise.starts_with(&format!("**P{}. ", index + 1)),
            "{promise}"
        );
    }
}
