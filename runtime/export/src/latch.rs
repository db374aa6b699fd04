//! A writer that fails once, at the end: who is told of a run cannot stop it.

use std::{
    fmt,
    io::{self, Write},
};

/// Takes everything, and keeps the first error.
pub(crate) struct Latch<'a> {
    out: &'a mut dyn Write,
    failed: Option<io::Error>,
}

impl<'a> Latch<'a> {
    pub(crate) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, failed: None }
    }

    /// Writes text.
    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Writes what `format_args!` makes.
    pub(crate) fn format(&mut self, text: fmt::Arguments<'_>) {
        if self.failed.is_none() {
            self.failed = self.out.write_fmt(text).err();
        }
    }

    /// Writes a value as JSON.
    pub(crate) fn json(&mut self, value: &(impl serde::Serialize + ?Sized)) {
        if self.failed.is_none() {
            let written = serde_json::to_writer(&mut *self.out, value);
            self.failed = written.err().map(io::Error::from);
        }
    }

    /// Writes bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.out.write_all(bytes).err();
        }
    }

    /// The first error, if there was one.
    pub(crate) fn failure(self) -> Option<io::Error> {
        self.failed
    }

    /// The first error, if there was one; what was written is with the system then.
    pub(crate) fn end(mut self) -> io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.out.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 < bytes.len() {
                return Err(io::Error::other("full"));
            }
            self.0 -= bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_first_error_is_told_at_the_end() {
        for room in 0..12 {
            let mut full = Full(room);
            let mut latch = Latch::new(&mut full);
            latch.text("abc");
            latch.json("x");
            latch.format(format_args!("{}", 12));
            latch.bytes(b"wxyz");
            assert!(latch.end().is_err(), "{room}");
        }
        let mut full = Full(12);
        let mut latch = Latch::new(&mut full);
        latch.text("abcabcabc");
        latch.json("x");
        assert!(latch.end().is_ok());
    }
}
