//! Cutting a text into words while it streams by.
//!
//! The rule: decode UTF-8, leaving invalid bytes out, and split at Unicode white space. For a
//! text as a whole that is
//!
//! ```text
//! bytes.utf8_chunks().map(|chunk| chunk.valid()).collect::<String>().split_whitespace()
//! ```
//!
//! A word goes on across invalid bytes and across the pieces in which the text arrives.

/// What a byte may be in valid UTF-8.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Class {
    Word,
    /// White space by itself.
    Space,
    /// First byte of a character that may be white space.
    Lead,
}

static CLASSES: [Class; 256] = {
    let mut classes = [Class::Word; 256];
    let spaces = [b'\t', b'\n', 0x0b, 0x0c, b'\r', b' '];
    let mut at = 0;
    while at < spaces.len() {
        classes[spaces[at] as usize] = Class::Space;
        at += 1;
    }
    let leads = [0xc2, 0xe1, 0xe2, 0xe3];
    let mut at = 0;
    while at < leads.len() {
        classes[leads[at]] = Class::Lead;
        at += 1;
    }
    classes
};

/// Bytes of the white space that starts at `at`; 0 if there is none. `text` is valid UTF-8.
fn space_at(text: &[u8], at: usize) -> usize {
    match (CLASSES[text[at] as usize], &text[at..]) {
        (Class::Space, _) => 1,
        (Class::Lead, [0xc2, 0x85 | 0xa0, ..]) => 2,
        (
            Class::Lead,
            [0xe1, 0x9a, 0x80, ..]
            | [0xe2, 0x80, 0x80..=0x8a | 0xa8 | 0xa9 | 0xaf, ..]
            | [0xe2, 0x81, 0x9f, ..]
            | [0xe3, 0x80, 0x80, ..],
        ) => 3,
        _ => 0,
    }
}

/// End of the word that goes on at `at`: the next white space, or the end of the text.
#[inline]
fn word_end(text: &[u8], mut at: usize) -> usize {
    while at < text.len() {
        match CLASSES[text[at] as usize] {
            Class::Space => break,
            Class::Lead if space_at(text, at) > 0 => break,
            Class::Lead | Class::Word => {}
        }
        at += 1;
    }
    at
}

/// Start of the next word at or after `at`, or the end of the text.
#[inline]
fn word_start(text: &[u8], mut at: usize) -> usize {
    while at < text.len() {
        match space_at(text, at) {
            0 => break,
            width => at += width,
        }
    }
    at
}

/// Cuts one text, given in pieces, into words.
#[derive(Debug, Default)]
pub(crate) struct Tokenizer {
    /// Begin of a word that may go on in the next piece.
    open: Vec<u8>,
    /// Begin of a character that may go on in the next piece: at most three bytes.
    partial: Vec<u8>,
}

impl Tokenizer {
    /// Takes the next piece. `word` gets each finished word as a buffer and its range in it:
    /// that can be read faster than a slice of just the word.
    pub(crate) fn feed(&mut self, piece: &[u8], word: &mut impl FnMut(&[u8], usize, usize)) {
        let mut rest = self.complete_character(piece, word);
        loop {
            match str::from_utf8(rest) {
                Ok(_) => return self.text(rest, word),
                Err(error) => {
                    let (valid, invalid) = rest.split_at(error.valid_up_to());
                    self.text(valid, word);
                    let Some(length) = error.error_len() else {
                        self.partial.extend_from_slice(invalid);
                        return;
                    };
                    rest = &invalid[length..];
                }
            }
        }
    }

    /// Ends the text: nothing completes an incomplete character any more, and the last word ends.
    pub(crate) fn finish(&mut self, word: &mut impl FnMut(&[u8], usize, usize)) {
        self.partial.clear();
        self.end_open(word);
    }

    /// Completes the character that the pieces before began, and gives the rest of the piece.
    fn complete_character<'a>(
        &mut self,
        piece: &'a [u8],
        word: &mut impl FnMut(&[u8], usize, usize),
    ) -> &'a [u8] {
        let mut rest = piece;
        while let (false, Some((next, after))) = (self.partial.is_empty(), rest.split_first()) {
            self.partial.push(*next);
            match str::from_utf8(&self.partial) {
                Ok(_) => {
                    let character = std::mem::take(&mut self.partial);
                    self.text(&character, word);
                    rest = after;
                }
                Err(error) if error.error_len().is_none() => rest = after,
                // The bytes before were no character; the new byte may begin one.
                Err(_) => self.partial.clear(),
            }
        }
        rest
    }

    /// Cuts text that is valid UTF-8.
    fn text(&mut self, text: &[u8], word: &mut impl FnMut(&[u8], usize, usize)) {
        let mut at = 0;
        if !self.open.is_empty() {
            at = word_end(text, 0);
            self.open.extend_from_slice(&text[..at]);
            if at == text.len() {
                return;
            }
            self.end_open(word);
        }
        loop {
            let start = word_start(text, at);
            let end = word_end(text, start);
            if end == text.len() {
                self.open.extend_from_slice(&text[start..]);
                return;
            }
            word(text, start, end);
            at = end;
        }
    }

    fn end_open(&mut self, word: &mut impl FnMut(&[u8], usize, usize)) {
        if !self.open.is_empty() {
            word(&self.open, 0, self.open.len());
            self.open.clear();
        }
    }
}
