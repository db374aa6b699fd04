//! The two tasks.

use std::time::Duration;

use taps::{Bytes, Error, List};

use crate::content;

/// What a `noop` is to do.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Work {
    /// Least duration of the task, in nanoseconds.
    pub(crate) sleep_ns: u64,
    /// Size of the output.
    pub(crate) output_bytes: u32,
    /// Whether payloads carry their hash, and inputs are checked.
    pub(crate) verify: bool,
    /// Whether the output is made of words that count up.
    pub(crate) plain: bool,
    /// Whether inputs are read that are not checked.
    pub(crate) read: bool,
}

/// Makes its output and sleeps for the rest of its time.
///
/// The first argument is a [`Work`], the others are inputs, each of which is read. Without
/// arguments it does nothing at all: the cheapest task there is.
#[taps::task]
pub(crate) fn noop(mut arguments: List<Bytes>) -> taps::Result<Bytes> {
    let Some(work) = arguments.next() else {
        return Ok(Bytes::from(Vec::new()));
    };
    let work = taps::View::<Work>::new(work?)?;
    let sleep_ns = work.sleep_ns.to_native();
    let start = if sleep_ns > 0 {
        taps::clock()
    } else {
        Duration::ZERO
    };
    for (position, input) in arguments.enumerate() {
        let input = input?;
        if work.verify && !content::is_intact(&input) {
            let message = format!(
                "input {position} of {} bytes is not what was sent",
                input.len()
            );
            return Err(Error::app("ContentMismatch", message));
        }
        if work.read && !work.verify {
            // Kept from being optimised away.
            std::hint::black_box(content::sum(&input));
        }
    }
    let mut output = Bytes::zeros(work.output_bytes.to_native() as usize);
    if !output.is_empty() {
        content::make(&mut output, taps::seed(), work.verify, work.plain);
    }
    if sleep_ns > 0 {
        let spent = taps::clock().saturating_sub(start);
        let rest = Duration::from_nanos(sleep_ns).saturating_sub(spent);
        if !rest.is_zero() {
            taps::sleep(rest);
        }
    }
    Ok(output)
}

/// Does nothing.
#[taps::task]
pub(crate) fn warmup() {}
