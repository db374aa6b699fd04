//! `data`: data sets are listed, fetched, checked, and missed with a clear message.

use crate::harness::{Ended, Place, names, snapshot};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
    time::Duration,
};

/// Serves files by name, until the test ends; gives the address.
pub(crate) fn mirror(files: &[(&str, &[u8])]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}/data", listener.local_addr().expect("it has one"));
    let files: BTreeMap<String, Vec<u8>> = files
        .iter()
        .map(|(name, bytes)| (format!("/data/{name}"), bytes.to_vec()))
        .collect();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let count = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..count]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let (status, body) = match files.get(path) {
                Some(body) => ("200 OK", body.as_slice()),
                None => ("404 Not Found", b"".as_slice()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            // Who is gone needs no answer.
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(body));
        }
    });
    address
}

fn fetch(place: &Place, set: &str, from: &str) -> Ended {
    place.call(["data", "fetch", set, "--from", from])
}

/// The text with the address of the mirror replaced.
fn text(ended: &Ended, from: &str) -> String {
    ended.text().replace(from, "[MIRROR]")
}

#[test]
fn known_sets_are_listed() {
    let place = Place::new();
    snapshot!(place.call(["data", "list"]).expect(0).text());
    let json = place.call(["data", "list", "--json"]).json();
    let sets = json.as_array().expect("a list");
    assert!(
        sets.iter().all(|set| set["files"][0]["url"].is_string()),
        "{json}"
    );
    snapshot!(
        "unknown",
        place.call(["data", "check", "minst"]).expect(2).text()
    );
}

#[test]
fn a_set_is_fetched_once_and_checked() {
    let place = Place::new();
    let table = b"id smiles\n0 C\n";
    let from = mirror(&[("QM9-search.tsv", table)]);
    fetch(&place, "qm9-search", &from).expect(0);
    let directory = place.path().join("data/qm9-search");
    assert_eq!(names(&directory), ["QM9-search.tsv", "taps-data.json"]);
    assert_eq!(
        fs::read(directory.join("QM9-search.tsv")).expect("a file"),
        table
    );
    place.call(["data", "check", "qm9-search"]).expect(0);
    // Not asked again: nobody is there.
    let again = fetch(&place, "qm9-search", "http://127.0.0.1:1");
    assert!(
        again.expect(0).stdout.contains("already in"),
        "{}",
        again.text()
    );
    fs::write(directory.join("QM9-search.tsv"), "id smiles\n0 N\n").expect("a file");
    let changed = place.call(["data", "check", "qm9-search"]);
    changed
        .expect(3)
        .says("its SHA-256 is")
        .says("and should be");
    fetch(&place, "qm9-search", &from).expect(0);
    place.call(["data", "check", "qm9-search"]).expect(0);
}

#[test]
fn an_archive_is_unpacked_within_its_directory() {
    let mut archive = tar_file("images/a.fits", b"first");
    archive.extend(tar_file("../../escaped", b"second"));
    archive.extend([0; 1024]);
    let place = Place::new();
    let from = mirror(&[("Kimages.tar", &archive)]);
    fetch(&place, "m17", &from).expect(0);
    let directory = place.path().join("data/m17");
    assert_eq!(names(&directory), ["images", "taps-data.json"]);
    assert_eq!(names(&directory.join("images")), ["a.fits"]);
    assert_eq!(place.names(), ["data"]);
    place.call(["data", "check", "m17"]).expect(0);
}

/// An entry of an archive, by hand: no library would write the second of the test above.
fn tar_file(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", content.len()));
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut entry = header.to_vec();
    entry.extend_from_slice(content);
    entry.resize(512 + content.len().next_multiple_of(512), 0);
    entry
}

#[test]
fn what_was_published_otherwise_is_refused_and_removed() {
    let place = Place::new();
    let from = mirror(&[("train-images-idx3-ubyte.gz", b"not these")]);
    let refused = fetch(&place, "mnist", &from);
    snapshot!(text(refused.expect(3), &from));
    assert_eq!(names(&place.path().join("data/mnist")), [""; 0]);
}

#[test]
fn what_cannot_be_reached_is_said_soon() {
    let place = Place::new();
    let from = mirror(&[]);
    let absent = fetch(&place, "mnist", &from);
    snapshot!("absent", text(absent.expect(6), &from));
    let offline = fetch(&place, "mnist", "http://127.0.0.1:1");
    offline
        .expect(6)
        .says("fetch http://127.0.0.1:1/train-images-idx3-ubyte.gz")
        .says("--from");
    assert!(
        offline.elapsed < Duration::from_secs(15),
        "{:?}",
        offline.elapsed
    );
    assert_eq!(names(&place.path().join("data/mnist")), [""; 0]);
}

#[test]
fn files_brought_by_hand_are_held_against_the_published_digests() {
    let place = Place::new();
    place.write("mine/train-images-idx3-ubyte.gz", "something else");
    let wrong = place.call(["data", "check", "mnist", "mine"]);
    wrong.expect(3).says("f68b3c2dcbeaaa9fbdd348bbdeb94873");
    place.write("table/QM9-search.tsv", "id smiles\n");
    let unknown = place.call(["data", "check", "qm9-search", "table"]);
    unknown.expect(3).says("nothing to compare with");
}
