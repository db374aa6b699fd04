//! Writing images of 32-bit floating-point pixels.

use super::{BLOCK_BYTES, CARD_BYTES};

/// A file while its header is written.
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Begins an image of `width` × `height` pixels.
    pub(crate) fn new(width: usize, height: usize) -> Self {
        let mut writer = Self { bytes: Vec::new() };
        writer.card("SIMPLE", &format!("{:>20}", "T"));
        writer.card("BITPIX", &format!("{:>20}", -32));
        writer.card("NAXIS", &format!("{:>20}", 2));
        writer.card("NAXIS1", &format!("{width:>20}"));
        writer.card("NAXIS2", &format!("{height:>20}"));
        writer
    }

    fn card(&mut self, keyword: &str, value: &str) {
        let card = format!("{keyword:<8}= {value}");
        debug_assert!(card.len() <= CARD_BYTES && card.is_ascii());
        self.bytes.extend_from_slice(card.as_bytes());
        self.fill(CARD_BYTES, b' ');
    }

    fn fill(&mut self, unit: usize, with: u8) {
        let length = self.bytes.len().next_multiple_of(unit);
        self.bytes.resize(length, with);
    }

    /// Adds a text: at most 60 ASCII characters, none a quote.
    #[must_use]
    pub(crate) fn text(mut self, keyword: &str, text: &str) -> Self {
        self.card(keyword, &format!("'{text:<8}'"));
        self
    }

    /// Adds a number.
    #[must_use]
    pub(crate) fn number(mut self, keyword: &str, number: f64) -> Self {
        // The shortest text that reads back as the same number; a point marks it as real.
        let number = format!("{number:?}").replace('e', "E");
        self.card(keyword, &format!("{number:>20}"));
        self
    }

    /// Ends the header and adds the pixels, the lowest row first.
    pub(crate) fn finish(mut self, pixels: impl IntoIterator<Item = f32>) -> Vec<u8> {
        self.bytes.extend_from_slice(b"END");
        self.fill(BLOCK_BYTES, b' ');
        for pixel in pixels {
            self.bytes.extend_from_slice(&pixel.to_be_bytes());
        }
        self.fill(BLOCK_BYTES, 0);
        self.bytes
    }
}
