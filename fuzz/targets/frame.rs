//! Frames from a peer: read or refused, and read again as they are written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use taps_frames::{Frame, write};

fuzz_target!(|bytes: &[u8]| {
    let mut source = bytes;
    // All frames of a channel, until it ends or breaks.
    while let Ok(Some(frame)) = Frame::read(&mut source) {
        let Ok(message) = frame.message::<Value>() else {
            continue;
        };
        let buffers: Vec<&[u8]> = frame.buffers.iter().map(Vec::as_slice).collect();
        let mut written = Vec::new();
        write(&mut written, &message, &buffers).expect("a vector takes everything");
        let again = Frame::read(&mut written.as_slice()).expect("what is written is read");
        let again = again.expect("there is one");
        assert_eq!(again.buffers, frame.buffers);
        // Numbers may lose digits on the way through a value.
        assert!(again.message::<Value>().is_ok());
    }
});
