//! Archives: the same bytes whenever and wherever they are written, and read as they were.

use crate::making::{archive_with, bundle, bundle_with, entries, packed, read, tar};
use proptest::{collection::vec, prelude::*};
use taps_bundle::{Bundle, Packing, Source};

/// Fails unless two bundles are the same.
#[track_caller]
fn same(one: &Bundle, other: &Bundle) {
    assert_eq!(one.digest(), other.digest());
    assert_eq!(one.manifest(), other.manifest());
    assert_eq!(one.layout(), other.layout());
    assert_eq!(one.data("texts/words.txt"), other.data("texts/words.txt"));
    assert_eq!(other.data("texts/more.txt"), None, "it has a URL");
    for index in 0..3 {
        assert_eq!(one.component(index), other.component(index));
    }
}

#[test]
fn what_is_written_is_read() {
    let written = bundle();
    for packing in [Packing::Zstd, Packing::Plain] {
        let archive = packed(&written, packing);
        let found = read(&archive).expect("sound");
        same(&written, &found);
        assert_eq!(found.source(), &Source::Archive("-".into()));
    }
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("a.taps");
    std::fs::write(&path, packed(&written, Packing::Zstd)).expect("write");
    same(&written, &Bundle::from_archive(&path).expect("sound"));
    let directory = place.path().join("directory");
    written.write_directory(&directory).expect("write");
    same(
        &written,
        &Bundle::from_directory(&directory).expect("sound"),
    );
}

#[test]
fn equal_bundles_are_equal_bytes() {
    for packing in [Packing::Zstd, Packing::Plain] {
        let first = packed(&bundle(), packing);
        assert_eq!(first, packed(&bundle(), packing));
        // What was read is written as it was.
        let read = read(&first).expect("sound");
        assert_eq!(first, packed(&read, packing));
    }
    assert_ne!(bundle().digest(), bundle_with(b"other words").digest());
}

#[test]
fn nothing_of_time_or_place_is_in_an_archive() {
    let archive = packed(&bundle(), Packing::Plain);
    let mut archive = tar::Archive::new(archive.as_slice());
    for entry in archive.entries().expect("an archive") {
        let entry = entry.expect("an entry");
        let header = entry.header();
        assert_eq!(header.entry_type(), tar::EntryType::Regular);
        assert_eq!(header.mtime().expect("a number"), 0);
        assert_eq!(header.uid().expect("a number"), 0);
        assert_eq!(header.gid().expect("a number"), 0);
        assert_eq!(header.mode().expect("a number"), 0o644);
        assert_eq!(header.username().expect("UTF-8"), Some(""));
    }
}

#[test]
fn the_digest_is_that_of_the_index_blob() {
    let bundle = bundle();
    let archive = packed(&bundle, Packing::Plain);
    let name = format!("blobs/sha256/{}", bundle.digest().to_hex());
    let entries = entries(&archive);
    assert_eq!(entries[0].name, "oci-layout");
    assert_eq!(entries[1].name, "index.json");
    assert_eq!(
        entries[2].name, name,
        "the index comes before what it refers to"
    );
    assert_eq!(taps_bundle::Digest::of(&entries[2].bytes), bundle.digest());
    let names: std::collections::HashSet<_> = entries.iter().map(|entry| &entry.name).collect();
    assert_eq!(names.len(), entries.len());
}

/// Other programs write the entries in another order, with folders, and pad the archive to ten kilobytes.
#[test]
fn the_order_of_entries_does_not_matter() {
    let plain = packed(&bundle(), Packing::Plain);
    let mut entries = entries(&plain);
    entries.reverse();
    let folder = |name| crate::making::Entry::other(name, tar::EntryType::Directory, "");
    entries.insert(0, folder("blobs/sha256/"));
    entries.insert(0, folder("blobs/"));
    let mut other = tar(&entries);
    assert_ne!(plain, other);
    other.resize(other.len().next_multiple_of(10_240), 0);
    same(&bundle(), &read(&other).expect("sound"));
}

/// The digest belongs to the documents as they were written, whoever wrote them.
#[test]
fn a_bundle_of_another_writer_keeps_its_digest() {
    let foreign = read(&archive_with(|_| {})).expect("sound");
    assert_ne!(
        foreign.digest(),
        bundle().digest(),
        "its documents are others"
    );
    let again = read(&packed(&foreign, Packing::Zstd)).expect("sound");
    same(&foreign, &again);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_bundle_is_read_as_it_was_written(
        words in vec(any::<u8>(), 0..5000),
        summary in any::<String>(),
        licence in proptest::option::of(any::<String>()),
        // Numbers of so few digits are exact, however JSON is read.
        value in any::<i32>().prop_map(|number| f64::from(number) / 16.0),
        name in "[a-z]{1,20}(/[a-z.]{1,5}x){0,3}",
    ) {
        let plain = bundle_with(&words);
        let mut manifest = plain.manifest().clone();
        manifest.app.summary = summary;
        manifest.licence = licence;
        manifest.data[0].name.clone_from(&name);
        manifest.expected[0].values.insert("value".to_owned(), value.into());
        let components = [0, 1].map(|index| plain.component(index).expect("there").to_vec().into());
        let written = Bundle::with_data(
            manifest,
            components.to_vec(),
            vec![words.clone().into()],
            Source::Embedded,
        ).expect("sound");
        let archives = [Packing::Zstd, Packing::Plain].map(|packing| packed(&written, packing));
        for archive in archives {
            let found = read(&archive).expect("sound");
            prop_assert_eq!(found.digest(), written.digest());
            prop_assert_eq!(found.manifest(), written.manifest());
            prop_assert_eq!(found.data(&name), Some(words.as_slice()));
        }
    }
}
