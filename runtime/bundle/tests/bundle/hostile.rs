//! Archives that are cut, changed, or made to do harm.

use crate::making::{
    Entry, archive_of, archive_with, bundle, driver, entries, header, manifest, packed, read,
    refused, said, tar, tasks,
};
use proptest::{collection::vec, prelude::*};
use serde_json::json;
use std::io::Write;
use taps_bundle::{ArchiveLimits, Bundle, Digest, Packing};
use tar::EntryType;

#[test]
fn what_is_cut_is_refused_wherever_it_is_cut() {
    let zstd = packed(&bundle(), Packing::Zstd);
    for length in 0..zstd.len() {
        refused(&zstd[..length]);
    }
    assert!(refused(&zstd[..zstd.len() - 1]).contains("it was cut"));
    let plain = packed(&bundle(), Packing::Plain);
    for length in (0..plain.len())
        .step_by(61)
        .chain([plain.len() - 512, plain.len() - 1])
    {
        refused(&plain[..length]);
    }
    assert!(refused(&plain[..plain.len() - 1]).contains("within its end mark: it was cut"));
    assert!(refused(&plain[..700]).contains("it was cut"));
    assert!(refused(b"").contains("it was cut"));
}

#[test]
fn what_is_no_archive_is_refused() {
    assert!(refused(&[b'x'; 2000]).contains("neither a tar archive"));
    assert!(refused(b"PK\x03\x04 and more").contains("it was cut"));
    assert!(refused(&[0; 4096]).contains("`oci-layout` is missing"));
    let zstd = packed(&bundle(), Packing::Zstd);
    let twice = [zstd.clone(), zstd.clone()].concat();
    assert!(refused(&twice).contains("something follows its end"));
    assert!(refused(&[&zstd[..], b"x"].concat()).contains("something follows its end"));
    let plain = packed(&bundle(), Packing::Plain);
    assert!(refused(&[&plain[..], b"x"].concat()).contains("something follows its end"));
}

proptest! {
    /// A changed byte is found, unless it changes nothing: a leading zero of a checksum may be a space, and `index.json`
    /// may say something else of the index, which is none of the bundle.
    #[test]
    fn what_is_changed_is_refused(place in any::<prop::sample::Index>(), bits in 1_u8..) {
        let whole = bundle();
        for packing in [Packing::Plain, Packing::Zstd] {
            let mut archive = packed(&whole, packing);
            let place = place.index(archive.len());
            archive[place] ^= bits;
            if let Ok(found) = read(&archive) {
                prop_assert_eq!(found.digest(), whole.digest());
                prop_assert!(found.layout() == whole.layout(), "another layout");
            }
        }
    }

    #[test]
    fn no_bytes_make_a_panic(bytes in vec(any::<u8>(), 0..2000)) {
        let _ = read(&bytes);
        let _ = taps_bundle::scan("x", &[&driver()[..8], &bytes[..]].concat());
        let _ = Bundle::from_layout(
            &taps_bundle::Descriptor::index(Digest::of(&bytes), bytes.len() as u64),
            taps_bundle::Source::Embedded,
            &ArchiveLimits::default(),
            |_| Ok::<_, std::io::Error>(bytes.clone()),
        );
    }
}

#[test]
fn blobs_have_the_digests_of_their_names() {
    let mut entries = entries(&packed(&bundle(), Packing::Plain));
    let last = entries.last_mut().expect("entries");
    last.bytes[0] ^= 1;
    let message = refused(&tar(&entries));
    assert!(
        message.contains("has digest") || message.contains("digest"),
        "{message}"
    );
    assert!(
        message.contains(&Digest::of(&entries.last().expect("one").bytes).to_hex()),
        "{message}"
    );
    // A name that nothing refers to.
    let last = entries.last_mut().expect("entries");
    last.name = format!("blobs/sha256/{}", "0".repeat(64));
    assert!(refused(&tar(&entries)).contains("is missing"));
}

#[test]
fn names_stay_inside() {
    let sound = entries(&packed(&bundle(), Packing::Plain));
    for name in [
        "../evil",
        "/etc/passwd",
        "blobs/sha256/../../../evil",
        "blobs/sha256/../index.json",
        "./index.json",
        "manifest.json",
        "blobs/sha256/ABCDEF",
        "",
        "blobs/sha512/00",
    ] {
        let mut entries = sound.clone();
        entries.push(Entry::file(name, "evil"));
        let message = refused(&tar(&entries));
        assert!(message.contains(&format!("`{name}`")), "{message}");
    }
    let mut upper = sound.clone();
    upper.push(Entry::file(
        format!("blobs/sha256/{}", "A".repeat(64)),
        "evil",
    ));
    assert!(refused(&tar(&upper)).contains("does not belong"));
}

#[test]
fn there_are_plain_files_only() {
    let sound = entries(&packed(&bundle(), Packing::Plain));
    for (kind, word) in [
        (EntryType::Symlink, "a symbolic link"),
        (EntryType::Link, "a hard link"),
        (EntryType::Char, "a device"),
        (EntryType::Block, "a device"),
        (EntryType::Fifo, "a pipe"),
        (EntryType::Directory, "a directory"),
        (EntryType::GNULongName, "an extension"),
        (EntryType::XHeader, "an extension"),
        (EntryType::GNUSparse, "of an unknown kind"),
    ] {
        let name = format!("blobs/sha256/{}", "0".repeat(64));
        let mut entries = sound.clone();
        entries.push(Entry::other(&name, kind, "/etc/passwd"));
        let message = refused(&tar(&entries));
        assert!(
            message.contains(&name) && message.contains(word),
            "{message}"
        );
    }
}

#[test]
fn nothing_is_there_twice_or_in_vain() {
    let sound = entries(&packed(&bundle(), Packing::Plain));
    for entry in &sound {
        let mut entries = sound.clone();
        entries.push(entry.clone());
        let message = refused(&tar(&entries));
        assert!(
            message.contains(&format!("`{}` is there twice", entry.name)),
            "{message}"
        );
    }
    let stray = Digest::of(b"stray").to_hex();
    let mut entries = sound.clone();
    entries.push(Entry::file(format!("blobs/sha256/{stray}"), "stray"));
    let message = refused(&tar(&entries));
    assert!(
        message.contains("nothing refers to") && message.contains(&stray),
        "{message}"
    );
    for missing in 0..sound.len() {
        let mut entries = sound.clone();
        let name = entries.remove(missing).name;
        let message = refused(&tar(&entries));
        let digest = name.strip_prefix("blobs/sha256/").unwrap_or(&name);
        assert!(
            message.contains(digest) && message.contains("is missing"),
            "{message}"
        );
    }
}

/// What unpacks to far more than its own size: refused at the limit, not at the end.
#[test]
fn bombs_are_bounded() {
    let limits = ArchiveLimits {
        total: 1 << 20,
        entries: 64,
        json: 64 << 10,
        window_log: 27,
    };
    let message = |archive: &[u8]| {
        let error = Bundle::read_archive(archive, &limits).expect_err("refused");
        said(&error)
    };
    let most = 256_u64 << 20;
    // Zeros after the end mark.
    let plain = packed(&bundle(), Packing::Plain);
    let bomb = compressed(&plain, most);
    assert!(bomb.len() < 100_000, "{}", bomb.len());
    assert!(message(&bomb).contains("more than 1048576 bytes"));
    // A blob that never ends.
    let entry = Entry::file(format!("blobs/sha256/{}", "0".repeat(64)), "");
    let bomb = compressed(header(&entry, most).as_bytes(), most);
    assert!(message(&bomb).contains("more than 1048576 bytes"));
    // A size that is not there.
    let claim = header(&entry, u64::from(u32::MAX)).as_bytes().to_vec();
    assert!(message(&claim).contains("more than 1048576 bytes"));
    // Entries.
    let number = |number: u64| Entry::file(format!("blobs/sha256/{number:064x}"), "");
    let many: Vec<Entry> = (0..65).map(number).collect();
    assert!(message(&tar(&many)).contains("more than 64 entries"));
    // Documents.
    let long = Entry::file("index.json", vec![b' '; 65 << 10]);
    assert!(message(&tar(&[long])).contains("`index.json` has 66560 bytes"));
    let huge = archive_with(|manifest| manifest["licence"] = "x".repeat(70_000).into());
    let said = message(&huge);
    assert!(
        said.contains("manifest") && said.contains("at most 65536"),
        "{said}"
    );
    // All of them are within the limits of the program.
    read(&huge).expect("sound");
}

/// Bytes, then zeros, compressed.
fn compressed(start: &[u8], zeros: u64) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder.write_all(start).expect("compress");
    let zero = vec![0; 1 << 20];
    for _ in 0..zeros >> 20 {
        encoder.write_all(&zero).expect("compress");
    }
    encoder.finish().expect("compress")
}

#[test]
fn a_frame_that_wants_too_much_memory_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    let window = zstd::zstd_safe::CParameter::WindowLog(30);
    encoder.set_parameter(window).expect("a window");
    encoder
        .write_all(&packed(&bundle(), Packing::Plain))
        .expect("compress");
    encoder.flush().expect("compress");
    refused(&encoder.finish().expect("compress"));
}

#[test]
fn deep_documents_are_refused() {
    let deep = "[".repeat(100_000);
    let mut entries = entries(&packed(&bundle(), Packing::Plain));
    entries[1].bytes = deep.clone().into_bytes();
    assert!(refused(&tar(&entries)).contains("`index.json` is not what it should be"));
    let parts = [driver(), tasks()];
    let files = [("a.wasm", "application/wasm", &parts[0][..])];
    let message = refused(&archive_of(deep.as_bytes(), &files));
    assert!(message.contains("manifest"), "{message}");
}

/// The index, the manifest and the layers have to agree.
#[test]
fn parts_are_those_of_the_manifest() {
    let words = b"one two three\n";
    let parts = [driver(), tasks()];
    let text = manifest(&parts, words).to_json();
    let wasm = "application/wasm";
    let (one, two) = ("word-count.wasm", "word-count-tasks.wasm");
    let data = ("texts/words.txt", "text/plain", &words[..]);
    let sound = [(one, wasm, &parts[0][..]), (two, wasm, &parts[1][..]), data];
    read(&archive_of(text.as_bytes(), &sound)).expect("sound");
    let swapped = [sound[1], sound[0], sound[2]];
    let renamed = [(two, wasm, &parts[0][..]), sound[1], sound[2]];
    let other = [
        sound[0],
        sound[1],
        ("texts/words.txt", "text/html", &words[..]),
    ];
    let another = [
        sound[0],
        sound[1],
        ("texts/words.txt", "text/plain", &b"other"[..]),
    ];
    for (parts, expected) in [
        (&sound[..2], "has 3 parts; expected 4"),
        (&swapped[..], "the index has `word-count-tasks.wasm`"),
        (&renamed[..], "the index has `word-count-tasks.wasm`"),
        (&other[..], "`text/html`; expected `text/plain`"),
        (&another[..], "of 5 bytes where the manifest has"),
    ] {
        let message = refused(&archive_of(text.as_bytes(), parts));
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn manifests_that_contradict_themselves_are_refused() {
    type Change = fn(&mut serde_json::Value);
    let changes: [(Change, &str); 12] = [
        (
            |it| it["components"][0]["file"] = "../a.wasm".into(),
            "lies outside",
        ),
        (
            |it| it["components"][0]["file"] = "a/b.wasm".into(),
            "lies outside",
        ),
        (
            |it| it["components"][1]["file"] = "word-count.wasm".into(),
            "there twice",
        ),
        (
            |it| it["components"] = json!([]),
            "0 components; expected 1 to 256",
        ),
        (
            |it| it["data"][0]["name"] = "../words".into(),
            "`../words` lies outside",
        ),
        (
            |it| it["data"][1]["name"] = "texts".into(),
            "a file and a folder",
        ),
        (
            |it| it["data"][1]["url"] = "file:///etc/passwd".into(),
            "`file:///etc/passwd`",
        ),
        (
            |it| it["routes"][0]["component"] = 2.into(),
            "component 2, but there are 2",
        ),
        (|it| it["routes"] = json!([]), "2 tasks but 0 routes"),
        (
            |it| it["defaults"]["bottom"] = 1.into(),
            "`bottom` has a value",
        ),
        (
            |it| it["app"]["wit_version"] = "0.9.0".into(),
            "taps:core 0.9.0",
        ),
        (
            |it| it["components"][0]["size"] = "1".into(),
            "invalid type",
        ),
    ];
    for (change, expected) in changes {
        let message = refused(&archive_with(change));
        assert!(message.contains(expected), "`{expected}` in {message}");
    }
}
