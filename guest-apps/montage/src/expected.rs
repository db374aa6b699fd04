//! A mosaic held against one made before.

use serde_json::{Map, Value};
use taps::{Engine, Error, InputFile, Result};

use crate::statistics::Statistics;

/// Largest relative difference of a number: what another processor may round otherwise.
pub(crate) const TOLERANCE: f64 = 1e-6;
/// End of the name of an area image.
const AREA: &str = "_area.fits";

/// Statistics of a mosaic and its area image, one JSON object a line.
pub(crate) struct Expected {
    mosaic: Map<String, Value>,
    area: Option<Map<String, Value>>,
}

/// How far a mosaic is from the expected one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Difference {
    /// Numbers of pixels that differ: sizes, finite and blank pixels.
    pub(crate) counts: u64,
    /// Largest relative difference of the other numbers.
    pub(crate) relative: f64,
}

impl Expected {
    /// Reads the file.
    pub(crate) fn read(engine: &Engine, file: &InputFile) -> Result<Self> {
        let wrong = |what: String| Error::config("expected", file, what);
        let bytes = engine
            .input_file(file)
            .and_then(|file| file.bytes())
            .map_err(|error| wrong(format!("a file that can be read ({error})")))?;
        str::from_utf8(bytes.as_slice())
            .map_err(|error| error.to_string())
            .and_then(Self::parse)
            .map_err(|what| wrong(format!("lines of statistics ({what})")))
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut mosaic = None;
        let mut area = None;
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() {
                continue;
            }
            let object: Map<String, Value> =
                serde_json::from_str(line).map_err(|error| format!("line {number}: {error}"))?;
            let file = object.get("file").and_then(Value::as_str);
            let file = file.ok_or_else(|| format!("line {number}: no text `file`"))?;
            let place = if file.ends_with(AREA) {
                &mut area
            } else {
                &mut mosaic
            };
            if place.replace(object).is_some() {
                return Err(format!("line {number}: a second such image"));
            }
        }
        let mosaic = mosaic.ok_or("no line of a mosaic")?;
        Ok(Self { mosaic, area })
    }

    /// Compares a mosaic and its area image.
    pub(crate) fn compare(&self, mosaic: &Statistics, area: &Statistics) -> Difference {
        let mut difference = Difference::default();
        difference.add(&self.mosaic, mosaic);
        if let Some(expected) = &self.area {
            difference.add(expected, area);
        }
        difference
    }
}

impl Difference {
    fn add(&mut self, expected: &Map<String, Value>, found: &Statistics) {
        let found = found.to_json("");
        for name in ["naxis1", "naxis2", "finite_pixels", "nan_pixels"] {
            if let Some(expected) = expected.get(name) {
                self.counts += u64::from(found.get(name) != Some(expected));
            }
        }
        for name in ["min", "max", "mean", "std", "sum"] {
            let Some(expected) = expected.get(name) else {
                continue;
            };
            let found = found.get(name).and_then(Value::as_f64);
            let apart = match (expected.as_f64(), found) {
                (Some(expected), Some(found)) => {
                    // Two zeros are equal.
                    (found - expected).abs() / expected.abs().max(f64::MIN_POSITIVE)
                }
                (None, None) => 0.0,
                _ => f64::INFINITY,
            };
            self.relative = self.relative.max(apart);
        }
    }
}
