//! Headers.

use taps::{Error, Result};

use super::{BLOCK_BYTES, CARD_BYTES, Source, bad};

/// Blocks of the longest header that is read: 36,000 cards.
const LARGEST_HEADER: usize = 1000;
/// Axes of an image.
const LARGEST_DIMENSION: i64 = 8;

/// The header of the primary image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Keyword and value, the comment left out, in their order.
    cards: Vec<(String, String)>,
    /// Length in bytes, whole blocks.
    pub(crate) length_bytes: u64,
}

/// What the pixels of an image are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    /// Code of the type of a pixel: 8, 16, 32, 64, -32 or -64.
    pub(crate) bitpix: i64,
    /// Pixels of the first axis.
    pub(crate) width: u64,
    /// Pixels of the second axis.
    pub(crate) height: u64,
    /// Planes: the product of all further axes.
    pub(crate) planes: u64,
    /// Value = zero + scale × what is stored.
    pub(crate) scale: f64,
    /// See `scale`.
    pub(crate) zero: f64,
    /// Stored whole number that means "no value".
    pub(crate) blank: Option<i64>,
}

impl Shape {
    /// Bytes of one pixel.
    pub(crate) fn pixel_bytes(&self) -> u64 {
        self.bitpix.unsigned_abs() / 8
    }

    /// Bytes of all pixels, without what fills the last block; `None` if nobody could count them.
    pub(crate) fn data_bytes(&self) -> Option<u64> {
        let pixels = self.width.checked_mul(self.height)?;
        pixels
            .checked_mul(self.planes)?
            .checked_mul(self.pixel_bytes())
    }
}

impl Header {
    /// Reads the header at the start of a file.
    pub(crate) fn read(source: &(impl Source + ?Sized)) -> Result<Self> {
        let mut header = Self {
            cards: Vec::new(),
            length_bytes: 0,
        };
        for _ in 0..LARGEST_HEADER {
            let block = source.read(header.length_bytes, BLOCK_BYTES)?;
            if header.length_bytes == 0 && !block.starts_with(b"SIMPLE  =") {
                return Err(bad("it does not begin with `SIMPLE  =`"));
            }
            if block.len() < BLOCK_BYTES {
                return Err(truncated("it ends within its header"));
            }
            header.length_bytes += block.len() as u64;
            for card in block.chunks_exact(CARD_BYTES) {
                if !header.take(card)? {
                    return Ok(header);
                }
            }
        }
        Err(bad("a header without END"))
    }

    /// Takes a card; false at the end.
    fn take(&mut self, card: &[u8]) -> Result<bool> {
        let number = self.cards.len() + 1;
        if !card.iter().all(|byte| (b' '..=b'~').contains(byte)) {
            return Err(bad(format!("card {number} of its header is not text")));
        }
        // Nothing but ASCII: this cannot fail, and every index is a boundary.
        let card = str::from_utf8(card)?;
        let keyword = card[..8].trim_end();
        if keyword == "END" && card[8..].trim().is_empty() {
            return Ok(false);
        }
        let value = card[8..].strip_prefix("= ").map_or("", without_comment);
        self.cards.push((keyword.to_owned(), value.to_owned()));
        Ok(true)
    }

    fn find(&self, keyword: &str) -> Option<&str> {
        let found = self.cards.iter().find(|(name, _)| name == keyword);
        found.map(|(_, value)| &**value)
    }

    /// The text of a card.
    pub(crate) fn text(&self, keyword: &str) -> Result<String> {
        let value = self.find(keyword).ok_or_else(|| missing(keyword))?;
        let inner = value
            .strip_prefix('\'')
            .and_then(|rest| rest.strip_suffix('\''));
        match inner {
            Some(inner) => Ok(inner.replace("''", "'").trim_end().to_owned()),
            None => Err(wrong(keyword, value, "text in quotes")),
        }
    }

    /// The number of a card; `None` if there is no such card.
    pub(crate) fn optional_number(&self, keyword: &str) -> Result<Option<f64>> {
        let Some(value) = self.find(keyword) else {
            return Ok(None);
        };
        // Fortran's double precision is written with D.
        match value.replace(['D', 'd'], "E").parse() {
            Ok(number) if f64::is_finite(number) => Ok(Some(number)),
            _ => Err(wrong(keyword, value, "a number")),
        }
    }

    /// The number of a card.
    pub(crate) fn number(&self, keyword: &str) -> Result<f64> {
        self.optional_number(keyword)?
            .ok_or_else(|| missing(keyword))
    }

    fn optional_integer(&self, keyword: &str) -> Result<Option<i64>> {
        let Some(value) = self.find(keyword) else {
            return Ok(None);
        };
        let number = value.parse();
        number
            .map(Some)
            .map_err(|_| wrong(keyword, value, "a whole number"))
    }

    fn integer(&self, keyword: &str) -> Result<i64> {
        self.optional_integer(keyword)?
            .ok_or_else(|| missing(keyword))
    }

    /// What the header says of the pixels.
    pub(crate) fn shape(&self) -> Result<Shape> {
        match self.find("SIMPLE") {
            Some("T") => {}
            value => return Err(wrong("SIMPLE", value.unwrap_or(""), "T")),
        }
        let bitpix = self.integer("BITPIX")?;
        if ![8, 16, 32, 64, -32, -64].contains(&bitpix) {
            return Err(wrong(
                "BITPIX",
                &bitpix.to_string(),
                "8, 16, 32, 64, -32 or -64",
            ));
        }
        let dimension = self.integer("NAXIS")?;
        if !(2..=LARGEST_DIMENSION).contains(&dimension) {
            let expected = "2 or more: an image in the first part of the file";
            return Err(wrong("NAXIS", &dimension.to_string(), expected));
        }
        let mut axes = Vec::new();
        for axis in 1..=dimension {
            let keyword = format!("NAXIS{axis}");
            let length = self.integer(&keyword)?;
            match u64::try_from(length) {
                Ok(length) if length > 0 => axes.push(length),
                _ => return Err(wrong(&keyword, &length.to_string(), "at least 1")),
            }
        }
        let planes = axes[2..]
            .iter()
            .try_fold(1_u64, |all, axis| all.checked_mul(*axis));
        let shape = Shape {
            bitpix,
            width: axes[0],
            height: axes[1],
            planes: planes.ok_or_else(|| bad("more pixels than can be counted"))?,
            scale: self.optional_number("BSCALE")?.unwrap_or(1.0),
            zero: self.optional_number("BZERO")?.unwrap_or(0.0),
            blank: if bitpix > 0 {
                self.optional_integer("BLANK")?
            } else {
                None
            },
        };
        match shape.data_bytes() {
            Some(_) => Ok(shape),
            None => Err(bad("more pixels than can be counted")),
        }
    }

    /// What the header says of the pixels, if the file has them all.
    pub(crate) fn whole_shape(&self, size: u64) -> Result<Shape> {
        let shape = self.shape()?;
        let data = shape.data_bytes().unwrap_or(u64::MAX);
        let needed = self.length_bytes.saturating_add(data);
        if size < needed {
            let (width, height) = (shape.width, shape.height);
            return Err(truncated(&format!(
                "{size} bytes, but {width} x {height} pixels need {needed}"
            )));
        }
        Ok(shape)
    }
}

/// The value of a card: what stands before the comment.
fn without_comment(text: &str) -> &str {
    let text = text.trim_start();
    if !text.starts_with('\'') {
        return text.split('/').next().unwrap_or(text).trim_end();
    }
    // A quote in a text is written twice.
    let mut end = 1;
    while let Some(quote) = text[end..].find('\'') {
        end += quote + 1;
        if !text[end..].starts_with('\'') {
            return &text[..end];
        }
        end += 1;
    }
    text.trim_end()
}

fn missing(keyword: &str) -> Error {
    bad(format!("no {keyword} in its header"))
}

fn wrong(keyword: &str, value: &str, expected: &str) -> Error {
    bad(format!("{keyword} = {value}: expected {expected}"))
}

fn truncated(what: &str) -> Error {
    Error::app("TruncatedFits", what)
}
