//! An example: one app whose tasks are written in four languages.
//!
//! ```text
//!            ┌─► count_words (Rust) ─────┐                                  all three are the same bytes,
//! text, ─────┼─► c_count_words ──────────┼─┬─► c_merge_counts ──────────┐   and what the driver counts itself
//! in parts   ├─► python_count_words ─────┼─┼─► python_merge_counts ─────┤
//!            └─► javascript_count_words ─┘ └─► javascript_merge_counts ─┘
//!                                                 │ JSON
//!                                                 ▼
//!            javascript_counts_table ─► shares (Rust) ─► javascript_column_statistics
//!                                 Arrow           Arrow                            ─► JSON
//!
//! python_draw, javascript_draw ─► random numbers, which are those of the run's seed
//!
//! bytes ─► reverse (Rust) ─► c_reverse ─► python_reverse ─► javascript_reverse ─► the same bytes
//! ```
//!
//! The driver calls the tasks of the other components by name; `bundle.toml` puts those components beside this one.
//! `docs/languages/README.md` goes through it.

mod misbehaviour;
mod table;
mod text;

use std::collections::BTreeMap;

use taps::{Argument, Arrow, Bound, Bytes, Call, Engine, Future, Json, Report, Result};

/// Counts by word.
pub type Counts = BTreeMap<String, u64>;

/// Languages whose tasks lie in components of their own; their tasks begin with these names.
const FOREIGN: [&str; 3] = ["c", "python", "javascript"];

/// Counts the words of a text, each part in another language, and compares what the languages find.
#[derive(Debug, taps::Config)]
struct Polyglot {
    /// Words of the text, which is drawn from the seed of the run.
    #[taps(default = 100_000, min = 1, max = 10_000_000)]
    words: u32,
    /// Parts of the text, each counted by one task; every language in turn.
    #[taps(default = 8, min = 1, max = 100_000)]
    parts: u32,
    /// Instead of that, let a task of every language fail in every way, and check what becomes of it.
    #[taps(default = false)]
    misbehave: bool,
}

/// Counts the words of a text: runs of ASCII letters, in lower case.
#[taps::task(pure)]
fn count_words(text: &[u8]) -> Json<Counts> {
    Json(text::counts(text))
}

/// Reverses the order of bytes.
#[taps::task(pure)]
fn reverse(data: &[u8]) -> Bytes {
    data.iter().rev().copied().collect::<Vec<_>>().into()
}

/// What JavaScript finds in a column.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Statistics {
    rows: f64,
    sum: f64,
    least: f64,
    greatest: f64,
}

#[taps::app(name = "polyglot")]
fn run(config: Polyglot, engine: &Engine) -> Result<Report> {
    if config.misbehave {
        return misbehaviour::report(engine);
    }
    let parts = text::parts(config.words, config.parts, &mut engine.rng());
    let expected = text::counts(parts.join("\n").as_bytes());
    engine.phase("count");
    let counted = count(engine, &parts)?;
    engine.phase("merge");
    let merged = merge(engine, &counted)?;
    let mut report = Report::new();
    let written = taps::Value::encode(&Json(expected.clone()))?.into_vec();
    for (language, counts) in FOREIGN.iter().zip(&merged) {
        // Not only the same counts, but the same bytes: keys in order, and no white space.
        let same = counts.bytes()?.into_vec() == written;
        report = report.check(
            &format!("counts_in_{language}"),
            same,
            Bound::Equals(true.into()),
        );
    }
    engine.phase("bytes");
    report = report.check(
        "bytes_survive",
        survive(engine, &parts[0])?,
        Bound::Equals(true.into()),
    );
    engine.phase("table");
    let found = statistics(engine, &merged[2])?;
    let (count, share) = (&found["count"], &found["share"]);
    engine.phase("draw");
    for language in ["python", "javascript"] {
        let drawn = draw(engine, language)?;
        let different = drawn
            .windows(2)
            .all(|pair| pair[0].to_bits() != pair[1].to_bits());
        report = report
            .check(
                &format!("draws_in_{language}"),
                different,
                Bound::Equals(true.into()),
            )
            .value(&format!("drawn_in_{language}"), drawn);
    }
    let greatest = expected.values().max().copied().unwrap_or_default();
    Ok(report
        .check(
            "rows",
            count.rows,
            Bound::Equals((expected.len() as f64).into()),
        )
        .check(
            "sum",
            count.sum,
            Bound::Equals(f64::from(config.words).into()),
        )
        .check(
            "greatest",
            count.greatest,
            Bound::Equals((greatest as f64).into()),
        )
        .check("shares", (share.sum - 1.0).abs(), Bound::AtMost(1e-9))
        .value("different_words", expected.len())
        .value("greatest_share", share.greatest))
}

/// Counts the words of each part, every language in turn.
fn count(engine: &Engine, parts: &[String]) -> Result<Vec<Future<Json<Counts>>>> {
    let call = |(number, part): (usize, &String)| {
        engine.submit(match number.checked_rem(FOREIGN.len() + 1) {
            Some(turn @ 1..) => {
                let task = format!("{}_count_words", FOREIGN[turn - 1]);
                Call::named(&task, [part.as_str().into()])
            }
            _ => count_words::call(part.as_bytes()),
        })
    };
    parts.iter().enumerate().map(call).collect()
}

/// Adds up all counts, once in each language.
fn merge(engine: &Engine, counted: &[Future<Json<Counts>>]) -> Result<Vec<Future<Json<Counts>>>> {
    let call = |language: &&str| {
        let counts = counted.iter().map(Argument::from);
        let task = format!("{language}_merge_counts");
        engine.submit(Call::<Json<Counts>>::named(&task, counts))
    };
    FOREIGN.iter().map(call).collect()
}

/// Sends bytes of every value, and a text, through all languages. Each reverses them, four times in all: they come
/// back as they were.
fn survive(engine: &Engine, text: &str) -> Result<bool> {
    let sent: Vec<u8> = (0..=u8::MAX).chain(text.bytes()).collect();
    let mut data = engine.submit(reverse::call(&sent[..]))?;
    for language in FOREIGN {
        let task = format!("{language}_reverse");
        data = engine.submit(Call::<Bytes>::named(&task, [(&data).into()]))?;
    }
    Ok(data.result()?.into_vec() == sent)
}

/// Lets some tasks draw a number each.
fn draw(engine: &Engine, language: &str) -> Result<Vec<f64>> {
    let call = |_| engine.submit(Call::<Json<f64>>::named(&format!("{language}_draw"), []));
    let drawn: Vec<Future<Json<f64>>> = (0..4).map(call).collect::<Result<_>>()?;
    drawn
        .iter()
        .map(|number| number.result().map(|Json(number)| number))
        .collect()
}

/// Sends the counts as a table through JavaScript, Rust, and JavaScript.
fn statistics(
    engine: &Engine,
    counts: &Future<Json<Counts>>,
) -> Result<BTreeMap<String, Statistics>> {
    let call = Call::<Arrow>::named("javascript_counts_table", [counts.into()]);
    let table = engine.submit(call)?;
    let shares = engine.submit(table::shares::call(&table))?;
    let call = Call::<Json<BTreeMap<String, Statistics>>>::named(
        "javascript_column_statistics",
        [(&shares).into()],
    );
    let Json(found) = engine.submit(call)?.result()?;
    if let Some(missing) = ["count", "share"]
        .iter()
        .find(|name| !found.contains_key(**name))
    {
        return Err(taps::Error::app(
            "MissingColumn",
            format!("no column `{missing}`"),
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
