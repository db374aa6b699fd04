//! Archives from anywhere: read or refused within their limits, and read again as they are written. Each input is
//! tried as it is, and with its digests put right, so that what lies behind them is reached, too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use taps_bundle::{ArchiveLimits, Bundle, Digest, Packing};

const LIMITS: ArchiveLimits = ArchiveLimits {
    total: 1 << 20,
    entries: 64,
    json: 64 << 10,
    window_log: 20,
};

/// References are this deep: index.json, index, manifest, layer.
const DEPTH: usize = 5;

const BLOCK: usize = 512;
const BLOBS: &[u8] = b"blobs/sha256/";

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    if let Some(repaired) = repair(bytes) {
        check(&repaired);
    }
});

fn check(archive: &[u8]) {
    let Ok(bundle) = Bundle::read_archive(archive, &LIMITS) else {
        return;
    };
    assert!(bundle.layout().size() <= LIMITS.total);
    let mut written = Vec::new();
    bundle.pack(&mut written, Packing::Plain).expect("written");
    let again = Bundle::read_archive(written.as_slice(), &ArchiveLimits::default())
        .expect("what is written is read");
    assert_eq!(bundle.digest(), again.digest());
    assert_eq!(bundle.layout(), again.layout());
}

/// A tar archive whose blobs have the names of their digests wherever they are named; none if it is no such thing.
fn repair(archive: &[u8]) -> Option<Vec<u8>> {
    let mut archive = archive.to_vec();
    let blobs = blobs(&archive)?;
    for _ in 0..DEPTH {
        for (header, start, end) in &blobs {
            let digits = Digest::of(&archive[*start..*end]).to_hex().into_bytes();
            let name = header + BLOBS.len();
            let old = archive[name..name + digits.len()].to_vec();
            // A name of zeros would match the padding.
            let is_name = old.iter().all(u8::is_ascii_hexdigit);
            if is_name && old != digits {
                replace(&mut archive, &old, &digits);
            }
        }
    }
    let headers: Vec<usize> = blobs.iter().map(|(header, ..)| *header).collect();
    for header in headers {
        let block = &mut archive[header..header + BLOCK];
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    Some(archive)
}

/// Where the blobs are: header, first byte, end.
fn blobs(archive: &[u8]) -> Option<Vec<(usize, usize, usize)>> {
    let mut blobs = Vec::new();
    let mut at = 0;
    while let Some(header) = archive.get(at..at + BLOCK) {
        let size = std::str::from_utf8(&header[124..135]).ok()?;
        let size = usize::from_str_radix(size.trim_matches(['\0', ' ']), 8).unwrap_or(0);
        let start = at + BLOCK;
        let end = start
            .checked_add(size)
            .filter(|end| *end <= archive.len())?;
        if header.starts_with(BLOBS) {
            blobs.push((at, start, end));
        }
        at = end.next_multiple_of(BLOCK);
        if blobs.len() > LIMITS.entries {
            return None;
        }
    }
    (!blobs.is_empty()).then_some(blobs)
}

/// Replaces a text by another of its length, everywhere.
fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    let mut at = 0;
    while at + old.len() <= bytes.len() {
        if bytes[at] == old[0] && bytes[at..at + old.len()] == *old {
            bytes[at..at + old.len()].copy_from_slice(new);
            at += old.len();
        } else {
            at += 1;
        }
    }
}
