//! Links and the table of contents.

use super::{all_pages, markdown::Page, root};
use std::{collections::BTreeSet, path::Path};

/// The table of contents.
const SUMMARY: &str = "docs/SUMMARY.md";

/// A path without `.` and `..`.
fn plain(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.to_str().expect("UTF-8").split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().expect("below the top");
            }
            other => parts.push(other),
        }
    }
    parts.join("/")
}

fn is_of_the_network(link: &str) -> bool {
    link.starts_with("https://") || link.starts_with("http://")
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for path in all_pages() {
        let page = Page::read(&path);
        for (line, link) in page.links() {
            if is_of_the_network(&link) {
                continue;
            }
            count += 1;
            let (target, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let file = match target {
                "" => path.clone(),
                _ => plain(&Path::new(&path).parent().expect("a folder").join(target)),
            };
            if !root().join(&file).exists() {
                wrong.push(format!("{path}:{line}: {link}: there is no {file}"));
            } else if !anchor.is_empty() && !Page::read(&file).anchors().contains(&anchor.into()) {
                wrong.push(format!("{path}:{line}: {link}: no heading makes #{anchor}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 150, "only {count} links were found");
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let listed: Vec<String> = Page::read(SUMMARY)
        .links()
        .into_iter()
        .map(|(_, link)| plain(&Path::new("docs").join(link)))
        .collect();
    let unique: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), unique.len(), "a page is listed twice");
    let mut pages = all_pages();
    pages.remove(SUMMARY);
    pages.remove("README.md");
    let missing: Vec<&String> = pages.difference(&unique).collect();
    assert!(missing.is_empty(), "not in {SUMMARY}: {missing:?}");
    let gone: Vec<&String> = unique.difference(&pages).collect();
    assert!(gone.is_empty(), "in {SUMMARY} and not there: {gone:?}");
}

#[test]
fn every_page_has_a_title() {
    for path in all_pages() {
        let page = Page::read(&path);
        assert!(page.title().is_some(), "{path} begins without a heading");
    }
}
