//! Tables: merging, reading through small buffers, damage, the summary.

use proptest::prelude::*;
use taps::{List, Value as _};

use super::words::{count, entries, expected};
use crate::counts::{Counts, CountsReader, HEADER_BYTES};
use crate::summary::summarise;
use crate::tasks::{map_task, reduce_task};

fn words() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let word = prop::collection::vec(prop::sample::select(b"\0ab\xff".to_vec()), 1..14);
    prop::collection::vec(word, 0..60)
}

/// A payload of the bytes, as a task gets it.
fn payload(bytes: Vec<u8>) -> taps::Payload {
    let list = List::<taps::Bytes>::from_iter([taps::Bytes::from(bytes)]);
    list.into_payloads().next().unwrap()
}

fn bytes_of(counts: &Counts) -> Vec<u8> {
    counts.encode().unwrap().into_vec()
}

proptest! {
    #[test]
    fn merging_equals_counting_all(parts in prop::collection::vec(words(), 0..9)) {
        let tables: List<Counts> = parts.iter().map(|words| count(words)).collect();
        let merged = reduce_task(tables).unwrap();
        let all = parts.concat();
        prop_assert_eq!(entries(&merged), expected(&all));
        prop_assert_eq!(merged.parts().unwrap().0.origin.total, all.len() as u64);
        prop_assert_eq!(merged.parts().unwrap().0.origin.files, parts.len() as u64);
    }

    #[test]
    fn any_buffer_reads_the_same(words in words(), buffer in 0..100usize) {
        let counts = count(&words);
        let mut reader = CountsReader::open(payload(bytes_of(&counts)), buffer).unwrap();
        for (word, count) in expected(&words) {
            prop_assert!(reader.advance().unwrap());
            let found = reader.word();
            prop_assert_eq!(found.length, word.len());
            prop_assert!(found.equals(crate::word::Word::at(&word, 0, word.len())));
            prop_assert_eq!(reader.count(), count);
        }
        prop_assert!(!reader.advance().unwrap());
    }

    /// Damaged tables give an error or other counts, but no panic and no endless loop.
    #[test]
    fn damage_is_survived(words in words(), place in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        let mut bytes = bytes_of(&count(&words));
        let place = place.index(bytes.len());
        if cut {
            bytes.truncate(place);
        } else {
            bytes[place] = byte;
        }
        let Ok(mut reader) = CountsReader::open(payload(bytes.clone()), 64) else {
            return Ok(());
        };
        while let Ok(true) = reader.advance() {}
        if let Ok(counts) = Counts::decode(taps::Bytes::from(bytes)) {
            let _ = summarise(&counts, 3, true);
        }
    }
}

#[test]
fn large_counts_and_long_words_travel() {
    let long = vec![b'x'; 300_000];
    let tables: Vec<Counts> = (0..3)
        .map(|part| {
            let mut words = vec![b"a".to_vec(); 200];
            words.push(long[part..].to_vec());
            count(&words)
        })
        .collect();
    let mut reader = CountsReader::open(payload(bytes_of(&tables[0])), 64).unwrap();
    assert!(reader.advance().unwrap() && reader.count() == 200);
    assert!(reader.advance().unwrap() && reader.word().length == long.len());
    let merged = reduce_task(tables.into_iter().collect()).unwrap();
    let entries = entries(&merged);
    assert_eq!(entries[0], (b"a".to_vec(), 600));
    let lengths: Vec<_> = entries[1..].iter().map(|(word, _)| word.len()).collect();
    assert_eq!(lengths, [299_998, 299_999, 300_000]);
}

#[test]
fn nothing_is_a_table_too() {
    let none: [taps::Payload; 0] = [];
    let counts = taps::testing::run(|engine| engine.submit(map_task::call(none))?.result());
    assert_eq!(bytes_of(&counts.unwrap()).len(), HEADER_BYTES);
    let merged = reduce_task(List::from_iter([])).unwrap();
    let (summary, text) = summarise(&merged, 10, true).unwrap();
    assert_eq!((summary.total, summary.top.len(), text.len()), (0, 0, 0));
}

#[test]
fn the_summary_orders_by_count_then_word() {
    let words: Vec<_> = b"b a c b \xff c d"
        .split(|byte| *byte == b' ')
        .map(<[u8]>::to_vec)
        .collect();
    let (summary, text) = summarise(&count(&words), 3, true).unwrap();
    let top = [
        ("b".to_owned(), 2),
        ("c".to_owned(), 2),
        ("a".to_owned(), 1),
    ];
    assert_eq!(summary.top, top);
    assert_eq!(text.as_slice(), b"b\t2\nc\t2\na\t1\nd\t1\n\xff\t1\n");
    assert!(summary.ordered);
    assert_eq!((summary.sum, summary.total, summary.distinct), (7, 7, 5));
    let (without, none) = summarise(&count(&words), 3, false).unwrap();
    assert_eq!((without, none.len()), (summary, 0));
}

#[test]
fn a_table_out_of_order_is_seen() {
    let mut bytes = bytes_of(&count(&[b"a".to_vec(), b"b".to_vec()]));
    bytes[HEADER_BYTES + 1] = b'c';
    let (summary, _) = summarise(&Counts::decode(bytes.into()).unwrap(), 1, false).unwrap();
    assert!(!summary.ordered);
}
