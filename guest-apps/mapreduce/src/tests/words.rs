//! The tokenizer and the table against the rules, on random bytes in random pieces.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::counts::{Counts, record};
use crate::table::WordTable;
use crate::tokens::Tokenizer;

/// The rule, on a text as a whole.
fn words_of(text: &[u8]) -> Vec<String> {
    let valid: String = text.utf8_chunks().map(|chunk| chunk.valid()).collect();
    valid.split_whitespace().map(str::to_owned).collect()
}

/// The words of a text that comes in pieces of the given lengths, over and over.
fn streamed(text: &[u8], lengths: &[usize]) -> Vec<String> {
    let mut words = Vec::new();
    let mut push = |buffer: &[u8], start: usize, end: usize| {
        words.push(String::from_utf8(buffer[start..end].to_vec()).unwrap());
    };
    let mut tokenizer = Tokenizer::default();
    let mut rest = text;
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*length).min(rest.len()));
        tokenizer.feed(piece, &mut push);
        rest = after;
    }
    tokenizer.finish(&mut push);
    words
}

/// Words and counts of a table.
pub(super) fn entries(counts: &Counts) -> Vec<(Vec<u8>, u64)> {
    let (header, records) = counts.parts().unwrap();
    let mut at = 0;
    let mut entries = Vec::new();
    while at < records.len() {
        let record = record(records, at).unwrap().unwrap();
        entries.push((records[record.start..record.end].to_vec(), record.count));
        at = record.next;
    }
    assert_eq!(entries.len() as u64, header.distinct);
    entries
}

/// Counts by the table.
pub(super) fn count(words: &[Vec<u8>]) -> Counts {
    let mut table = WordTable::new();
    for word in words {
        // Bytes around a word must not matter.
        let mut buffer = b"<<".to_vec();
        buffer.extend_from_slice(word);
        buffer.extend_from_slice(b">>>>>>>>");
        table.count(&buffer, 2, 2 + word.len());
    }
    table.into_counts(1, 0).unwrap()
}

/// Counts by the standard library.
pub(super) fn expected(words: &[Vec<u8>]) -> Vec<(Vec<u8>, u64)> {
    let mut counts = BTreeMap::new();
    for word in words {
        *counts.entry(word.clone()).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}

/// Pieces of text that matter: every white space, near misses, broken and whole characters.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let white = (0..=0xffff_u32)
        .filter_map(char::from_u32)
        .filter(|character| character.is_whitespace())
        .map(|character| character.to_string().into_bytes())
        .collect::<Vec<_>>();
    prop_oneof![
        prop::sample::select(white),
        prop::collection::vec(any::<u8>(), 0..6),
        prop::collection::vec(prop::sample::select(b"ab\0 ".to_vec()), 0..12),
        any::<char>().prop_map(|character| character.to_string().into_bytes()),
        // Characters that share their first bytes with white space, and cut ones.
        prop::sample::select(vec![
            "\u{86}\u{a1}é\u{1681}\u{200b}\u{2027}\u{202a}\u{2060}、ഀ"
                .as_bytes()
                .to_vec(),
            b"\xe2\x80".to_vec(),
            b"\xc2".to_vec(),
            b"\xf0\x9f\x98".to_vec(),
            b"\xed\xa0\x80".to_vec(),
            b"\xc0\xa0".to_vec(),
        ]),
    ]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(fragment(), 0..40).prop_map(|parts| parts.concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn streaming_equals_the_rule(text in text(), lengths in prop::collection::vec(1..20usize, 1..8)) {
        prop_assert_eq!(streamed(&text, &lengths), words_of(&text));
    }

    #[test]
    fn the_table_equals_a_map(
        words in prop::collection::vec(
            prop::collection::vec(prop::sample::select(b"\0\x01a\xff".to_vec()), 1..20), 0..80)
    ) {
        prop_assert_eq!(entries(&count(&words)), expected(&words));
    }
}

#[test]
fn every_cut_of_a_short_text_gives_the_same_words() {
    let text = "\u{feff}naïve\u{a0}日本\u{3000}語 \u{2028}x\u{85}😀y".as_bytes();
    let mut broken = text.to_vec();
    broken.insert(5, 0xff);
    broken.extend_from_slice(b" caf\xe9 cr\xe8me \xe2\x80");
    for text in [text, &broken] {
        for first in 1..text.len() {
            for second in 1..4 {
                assert_eq!(streamed(text, &[first, second]), words_of(text));
            }
        }
    }
}

#[test]
fn all_unicode_white_space_separates() {
    for character in (0..=0x0010_ffff).filter_map(char::from_u32) {
        let text = format!("a{character}b");
        let pieces = streamed(text.as_bytes(), &[2]).len();
        assert_eq!(pieces == 2, character.is_whitespace(), "{character:?}");
    }
}

#[test]
fn words_go_on_across_invalid_bytes() {
    assert_eq!(
        streamed(b"ab\xffcd \xe9\xe8 e\xe2\x80", &[1]),
        ["abcd", "e"]
    );
}

#[test]
fn a_table_of_many_words_grows() {
    let words: Vec<_> = (0..100_000_u32)
        .map(|number| format!("word-{}", number % 30_011).into_bytes())
        .collect();
    assert_eq!(entries(&count(&words)), expected(&words));
}
