//! Rates of the whole app without a sandbox, on one thread.
//!
//! `cargo run --release -p taps-mapreduce --example word_rates [FILES WORDS | DIRECTORY]`

use std::time::Instant;

use taps::testing::Local;
use taps_mapreduce as _;

fn main() -> taps::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let config = match arguments.as_slice() {
        [directory] => serde_json::json!({ "data_dir": directory }),
        [files, words] => serde_json::json!({
            "generate": true,
            "generated_files": files.parse::<u32>()?,
            "generated_words": words.parse::<u32>()?,
        }),
        _ => serde_json::json!({
            "generate": true, "generated_files": 32, "generated_words": 900_000,
        }),
    };
    let app = taps::apps().find(|app| app.name == "mapreduce");
    let app = app.ok_or_else(|| taps::Error::app("NoApp", "mapreduce is not linked in"))?;
    let start = Instant::now();
    let (report, trace) = Local::new().trace(|engine| (app.run)(&config, engine));
    let report = report?;
    let seconds = start.elapsed().as_secs_f64();
    let number = |name: &str| {
        let value = report.values.iter().find(|(key, _)| key == name);
        value.and_then(|(_, value)| value.as_f64()).unwrap_or(0.0)
    };
    for (_, line) in &trace.log {
        eprintln!("{line}");
    }
    eprintln!(
        "{seconds:.2} s: {:.1} million words/s, {:.0} MB/s, {} distinct, checks passed: {}",
        number("total") / seconds / 1e6,
        number("bytes") / seconds / 1e6,
        number("distinct"),
        report.passed(),
    );
    Ok(())
}
