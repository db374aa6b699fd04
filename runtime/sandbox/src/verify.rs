//! Digests of payloads in memory: made of each result before it is published, and compared by whoever
//! takes it as an argument. Only where the run asks for it: hashing touches every byte.

use crate::{RunContext, stored};
use taps_engine::Attempt;
use taps_payload::{Location, SegmentStore};
use xxhash_rust::xxh3::xxh3_64;

/// XXH3, 64 bit, of bytes.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// The digest of what is in memory at a location. `None` for bytes that are elsewhere, and guarded there.
pub fn digest_at(store: &SegmentStore, location: &Location) -> std::io::Result<Option<u64>> {
    match location {
        Location::Inline(bytes) => Ok(Some(digest(bytes))),
        Location::Segment(segment) => match store.get(segment.id) {
            Some(segment) => Ok(Some(digest(&stored::bytes_of(&segment)?))),
            None => Ok(None),
        },
        Location::File(_) | Location::Stored(_) | Location::Engine { .. } => Ok(None),
    }
}

/// The first argument whose bytes are not those that were published, and what to say of it.
pub(crate) fn damaged(run: &RunContext, attempt: &Attempt) -> Option<(u32, String)> {
    let digests = attempt.digests.iter().zip(&attempt.arguments).enumerate();
    for (index, (expected, argument)) in digests {
        let Some(expected) = expected else { continue };
        let why = match digest_at(&run.store, &argument.location) {
            // What is gone shows when it is read.
            Ok(None) => continue,
            Ok(Some(found)) if found == *expected => continue,
            Ok(Some(found)) => {
                format!("its bytes changed: digest {found:016x}, was {expected:016x}")
            }
            Err(error) => format!("it cannot be read: {error}"),
        };
        return Some((index as u32, format!("argument {index}: {why}")));
    }
    None
}
