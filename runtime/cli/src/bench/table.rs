//! What a bench found: rows, which are shown as a table, as CSV and as JSON.

use super::statistics::Statistic;
use crate::exit::ExitCode;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use std::fmt::Write as _;
use taps_report::{aligned, quoted, shown};

/// A column of figures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figure {
    /// In CSV and JSON; its unit is the last word.
    pub(super) name: &'static str,
    /// In the table.
    pub(super) title: &'static str,
}

impl Figure {
    pub(super) const fn new(name: &'static str, title: &'static str) -> Self {
        Self { name, title }
    }
}

/// Columns of a table: what was measured, and the figures of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) keys: &'static [&'static str],
    pub(super) figures: &'static [Figure],
}

/// What one cell gave.
#[derive(Clone, Debug)]
pub(super) struct Row {
    shape: Shape,
    /// Texts and numbers, in the order of the shape.
    pub(super) keys: Vec<Value>,
    figures: Vec<Option<Statistic>>,
    /// Quantiles of single tasks in steps of one in a hundred, where the bench asks for them.
    pub(super) distribution: Vec<f64>,
    /// Why figures are missing, and what is odd about them.
    pub(super) notes: Vec<String>,
    /// How the run failed that ended its measurement.
    pub(super) failure: Option<ExitCode>,
}

impl Row {
    pub(super) fn new(shape: Shape, keys: Vec<Value>) -> Self {
        debug_assert_eq!(keys.len(), shape.keys.len(), "a value for each key");
        Self {
            shape,
            keys,
            figures: vec![None; shape.figures.len()],
            distribution: Vec::new(),
            notes: Vec::new(),
            failure: None,
        }
    }

    /// A key by its name.
    pub(super) fn key(&self, name: &str) -> &Value {
        let at = self.shape.keys.iter().position(|key| *key == name);
        at.map_or(&Value::Null, |at| &self.keys[at])
    }

    /// A key as people write it.
    pub(super) fn text(&self, name: &str) -> String {
        plain(self.key(name))
    }

    /// A figure by its name.
    pub(super) fn figure(&self, name: &str) -> Option<&Statistic> {
        self.figures[self.at(name)?].as_ref()
    }

    /// The mean of a figure and half of its interval.
    pub(super) fn mean(&self, name: &str) -> Option<(f64, f64)> {
        let estimate = self.figure(name)?.estimate;
        Some((estimate.mean, estimate.half_width.unwrap_or(0.0)))
    }

    /// Sets a figure, and says what is odd about it.
    pub(super) fn set(&mut self, name: &str, figure: Option<Statistic>) {
        if let Some(at) = self.at(name) {
            let note = figure.as_ref().and_then(|figure| figure.outlier_note(name));
            self.notes.extend(note);
            self.figures[at] = figure;
        }
    }

    fn at(&self, name: &str) -> Option<usize> {
        let at = (self.shape.figures.iter()).position(|figure| figure.name == name);
        debug_assert!(at.is_some(), "no figure {name}");
        at
    }

    /// All keys in one line.
    pub(super) fn label(&self) -> String {
        let keys: Vec<String> = self.keys.iter().map(plain).collect();
        keys.join(", ")
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.shape.keys.iter().zip(&self.keys) {
            map.serialize_entry(name, value)?;
        }
        for (figure, value) in self.shape.figures.iter().zip(&self.figures) {
            map.serialize_entry(figure.name, value)?;
        }
        if !self.distribution.is_empty() {
            map.serialize_entry("distribution", &self.distribution)?;
        }
        map.serialize_entry("notes", &self.notes)?;
        map.end()
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The rows for people: each figure is a mean, with half of its interval where it was repeated.
pub(super) fn text(shape: Shape, rows: &[Row]) -> String {
    let titles = shape.keys.iter().map(|key| key.replace('_', " "));
    let titles = titles.chain(shape.figures.iter().map(|figure| figure.title.to_owned()));
    let mut lines: Vec<Vec<String>> = vec![titles.collect()];
    for row in rows {
        let figure = |figure: &Option<Statistic>| {
            let figure = figure.as_ref();
            figure.map_or("–".to_owned(), |figure| shown(&figure.estimate, 1.0))
        };
        let keys = shape.keys.iter().map(|key| match (*key, row.key(key)) {
            ("bytes", Value::Number(bytes)) => {
                crate::summary::bytes(bytes.as_u64().unwrap_or_default())
            }
            (_, value) => plain(value),
        });
        lines.push(keys.chain(row.figures.iter().map(figure)).collect());
    }
    let mut text = aligned(&lines);
    for row in rows {
        for note in &row.notes {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}: {note}", row.label());
        }
    }
    text
}

/// What CSV has of each figure besides its mean.
const PARTS: [&str; 4] = ["half_width", "median", "least", "most"];

/// The rows as CSV: a column for each key, five for each figure, the number of repeats, and notes.
pub(super) fn csv(shape: Shape, rows: &[Row]) -> String {
    let mut names: Vec<String> = shape.keys.iter().map(|key| (*key).to_owned()).collect();
    for figure in shape.figures {
        names.push(figure.name.to_owned());
        names.extend(PARTS.map(|part| format!("{}_{part}", figure.name)));
    }
    names.extend(["repeats", "notes"].map(str::to_owned));
    let mut text = names.join(",") + "\n";
    for row in rows {
        let mut fields: Vec<String> = row.keys.iter().map(|key| quoted(&plain(key))).collect();
        for figure in &row.figures {
            let number = |of: fn(&Statistic) -> Option<f64>| {
                let number = figure.as_ref().and_then(of);
                number.map(|number| number.to_string()).unwrap_or_default()
            };
            fields.extend([
                number(|figure| Some(figure.estimate.mean)),
                number(|figure| figure.estimate.half_width),
                number(|figure| Some(figure.median)),
                number(|figure| Some(figure.estimate.least)),
                number(|figure| Some(figure.estimate.most)),
            ]);
        }
        let counts = row.figures.iter().flatten();
        let repeats = counts.map(|figure| figure.values.len()).max().unwrap_or(0);
        fields.push(repeats.to_string());
        fields.push(quoted(&row.notes.join("; ")));
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        keys: &["executor", "slots"],
        figures: &[Figure::new("rate_per_s", "per s")],
    };

    fn row() -> Row {
        let mut row = Row::new(SHAPE, vec!["a,b".into(), 2.into()]);
        row.set("rate_per_s", Statistic::of(vec![1.0, 3.0]));
        row.notes.push("odd".into());
        row
    }

    #[test]
    fn table_csv_and_json_say_the_same() {
        let rows = [row(), Row::new(SHAPE, vec!["c".into(), 1.into()])];
        assert_eq!(
            csv(SHAPE, &rows),
            "executor,slots,rate_per_s,rate_per_s_half_width,rate_per_s_median,rate_per_s_least,rate_per_s_most,repeats,notes\n\
             \"a,b\",2,2,12.706,2,1,3,2,odd\n\
             c,1,,,,,,0,\n"
        );
        let json = serde_json::to_value(&rows).expect("JSON");
        assert_eq!(json[0]["rate_per_s"]["mean"], 2.0);
        assert_eq!(json[0]["slots"], 2);
        assert!(json[1]["rate_per_s"].is_null());
        assert_eq!(
            text(SHAPE, &rows),
            "executor  slots  per s\n\
             a,b       2      2.00 ± 12.7\n\
             c         1      –\n\
             a,b, 2: odd\n"
        );
    }
}
