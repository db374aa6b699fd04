//! Help pages.

use crate::fixtures::{args, schema};
use std::path::Path;
use taps_config::{preview, run_help};

fn help(line: &[&str], width: usize) -> String {
    run_help(&schema(), &preview(&args(line), Path::new("/")), width)
}

#[test]
fn general_help() {
    insta::assert_snapshot!(help(&[], 80));
}

#[test]
fn help_of_an_app_shows_just_its_fields() {
    let page = help(&["cholesky", "--executor", "native"], 72);
    assert!(page.contains("--app.matrix-size"));
    assert!(!page.contains("--app.data-dir"));
    assert!(
        page.lines()
            .filter(|line| line.starts_with("    "))
            .all(|line| line.chars().count() <= 72)
    );
    let until = page.find("\nOptions:").unwrap();
    insta::assert_snapshot!(&page[..until]);
}

#[test]
fn help_of_an_unknown_app_says_so() {
    assert!(help(&["nope"], 80).contains("App nope: unknown"));
}
