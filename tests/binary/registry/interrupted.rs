//! Lines that break: what has come or gone is not moved again.

use super::{
    LARGE, User,
    line::{Line, Then},
    number,
    server::{Access, Registry},
};
use std::fs;

/// In the middle of the largest part, whatever comes before it.
const MIDDLE: usize = 250_000;

/// First bytes of the ranges that were asked for, but the first.
fn ranges(line: &Line) -> Vec<u64> {
    let requests = line.requests();
    let asked = requests
        .iter()
        .filter_map(|request| request.split_once("range: bytes="));
    let first = asked.filter_map(|(_, range)| range.split('-').next()?.parse().ok());
    first.filter(|first| *first > 0).collect()
}

#[test]
fn a_pull_goes_on_within_a_part() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let line = Line::to(registry.port());
    let (author, user) = (User::new(), User::new());
    let digest = author.push(&registry.reference("apps/mapreduce:1"));
    line.cut_after(MIDDLE, Then::Works);
    let pulled = user.json(&["bundle", "pull", &line.reference("apps/mapreduce:1")]);
    assert_eq!(pulled["digest"], digest.as_str());
    assert_eq!(number(&pulled["kept_bytes"]), 0);
    let [first] = ranges(&line)[..] else {
        panic!("one part was gone on with: {:?}", line.requests());
    };
    assert!(first > 0 && first < MIDDLE as u64);
    // Little more than the bundle came over the line.
    let bundle = number(&pulled["fetched_bytes"]) as usize;
    assert!(line.answered() < bundle + 20_000, "{}", line.answered());
}

#[test]
fn the_next_pull_goes_on_where_one_broke() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let line = Line::to(registry.port());
    let (author, user) = (User::new(), User::new());
    let digest = author.push(&registry.reference("apps/mapreduce:1"));
    let reference = line.reference("apps/mapreduce:1");
    line.cut_after(MIDDLE, Then::Stays);
    let broken = user.call(&["bundle", "pull", &reference]);
    broken
        .expect(6)
        .says("the connection to ")
        .says("times in a row");
    broken.says("hint: do it again: what has come or gone already is not moved again");
    assert_eq!(user.kept(), Vec::<String>::new());

    line.mend();
    let pulled = user.json(&["bundle", "pull", &reference]);
    assert_eq!(pulled["digest"], digest.as_str());
    let kept = number(&pulled["kept_bytes"]);
    assert!(kept > 0 && kept < MIDDLE as u64, "{pulled}");
    let whole = User::new().json(&["bundle", "pull", &reference]);
    assert_eq!(
        kept + number(&pulled["fetched_bytes"]),
        number(&whole["fetched_bytes"])
    );
    assert!(ranges(&line)[0] > 0);
    let left = fs::read_dir(user.path("cache/taps-wasm/bundles/downloads"));
    assert_eq!(left.expect("it was made").count(), 0, "nothing is left");
}

#[test]
fn what_was_left_here_and_damaged_is_fetched_anew() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let line = Line::to(registry.port());
    let (author, user) = (User::new(), User::new());
    let digest = author.push(&registry.reference("apps/mapreduce:1"));
    let reference = line.reference("apps/mapreduce:1");
    line.cut_after(MIDDLE, Then::Stays);
    user.call(&["bundle", "pull", &reference]).expect(6);
    let mut damaged = 0;
    for entry in fs::read_dir(user.path("cache/taps-wasm/bundles/downloads")).expect("parts") {
        let path = entry.expect("an entry").path();
        let mut bytes = fs::read(&path).expect("a part");
        if let Some(first) = bytes.first_mut() {
            *first ^= 1;
            damaged += 1;
        }
        fs::write(&path, bytes).expect("it is ours");
    }
    assert!(damaged > 0);
    line.mend();
    assert_eq!(user.pull(&reference), digest);
}

#[test]
fn the_next_push_sends_what_is_missing() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let line = Line::to(registry.port());
    let user = User::new();
    let push = [
        "bundle",
        "push",
        "mapreduce",
        &line.reference("apps/mapreduce"),
    ];
    // After the answers to a few parts.
    line.cut_after(4_000, Then::Stays);
    let broken = user.call(&push);
    broken
        .expect(6)
        .says("times in a row")
        .says("hint: do it again");
    let stored = registry.blobs().len() as u64;
    assert!(stored > 0);

    line.mend();
    let pushed = user.json(&push);
    assert_eq!(number(&pushed["present"]["parts"]), stored, "{pushed}");
    assert!(number(&pushed["sent"]["parts"]) > 0);
    assert_eq!(
        User::new().pull(&registry.reference("apps/mapreduce:0.1.0")),
        super::text(&pushed["digest"])
    );
}

#[test]
fn a_push_goes_on_when_the_line_works_again() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let user = User::new();
    let line = Line::to(registry.port());
    line.cut_after(4_000, Then::Works);
    let pushed = user.json(&[
        "bundle",
        "push",
        "mapreduce",
        &line.reference("apps/mapreduce:1"),
    ]);
    assert_eq!(
        User::new().pull(&registry.reference("apps/mapreduce:1")),
        super::text(&pushed["digest"])
    );
}

#[test]
fn a_large_part_goes_in_pieces_and_again_when_it_was_cut() {
    let Some(registry) = Registry::start(&Access::Open) else {
        return;
    };
    let author = User::new();
    author.build_large();
    let line = Line::to(registry.port());
    let reference = line.reference("apps/large:1");
    let push = ["bundle", "push", "large.taps", &reference];
    line.cut_after_sending(LARGE - 1_000_000, Then::Stays);
    author.call(&push).expect(6).says("`numbers`");
    let stored = registry.blobs().len() as u64;
    line.mend();
    line.cut_after_sending(LARGE - 1_000_000, Then::Works);
    let pushed = author.json(&push);
    assert_eq!(number(&pushed["present"]["parts"]), stored, "{pushed}");
    let pieces = line.requests();
    let pieces = pieces
        .iter()
        .filter(|request| request.starts_with("patch "));
    assert!(pieces.count() > 2, "in pieces");

    // And back, cut in the middle.
    line.mend();
    line.cut_after(LARGE / 2, Then::Works);
    let user = User::new();
    let pulled = user.json(&["bundle", "pull", &reference, "-o", "came.taps"]);
    assert_eq!(pulled["digest"], pushed["digest"]);
    let file = |user: &User, name: &str| fs::read(user.path(name)).expect("it was written");
    assert!(file(&author, "large.taps") == file(&user, "came.taps"));
}
