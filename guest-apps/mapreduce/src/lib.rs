//! The mapreduce app: counts the words of files or of generated text.
//!
//! ```text
//! files ──► map_task ─┐
//! files ──► map_task ─┼─► reduce_task ──► summary_task ──► report, counts.tsv
//! files ──► map_task ─┘
//! ```
//!
//! With `generate`, the files are results of `generate_task`; otherwise they are file payloads of
//! a granted directory, so that tasks need no grant. Names and numbers of tasks are those of TaPS;
//! unlike there, no file is lost, the text is split evenly, and the result is checked.
//!
//! Words are what remains when invalid UTF-8 is left out and the text split at Unicode white
//! space. Tables of counts travel sorted, so that the reduction streams (see `counts`).

mod counts;
mod generate;
mod listing;
mod merge;
mod output;
mod summary;
mod table;
mod tasks;
#[cfg(test)]
mod tests;
mod tokens;
mod word;

use taps::{Bound, Bytes, Engine, Error, Future, InputDir, OutputDir, Report, Result};

use counts::Counts;
use output::CountsFile;
use summary::Summary;
use tasks::{generate_task, map_task, reduce_task, summary_task};

/// Tables that one task merges. Only `map_tasks = none` on many files has more; then the
/// reduction has levels.
const LARGEST_FAN_IN: usize = 4096;
/// Characters of a word in the log.
const LOGGED_CHARACTERS: usize = 200;

/// Word count over files or generated text.
#[derive(Debug, taps::Config)]
#[taps(check = MapReduce::check)]
struct MapReduce {
    /// Directory whose files, at any depth, are counted. Either this or `generate`.
    data_dir: Option<InputDir>,
    /// Count generated text instead of files.
    #[taps(default = false)]
    generate: bool,
    /// Files to generate.
    #[taps(default = 10, min = 1, max = 1_000_000)]
    generated_files: u32,
    /// Words in each generated file.
    #[taps(default = 10_000, min = 1, max = 100_000_000)]
    generated_words: u32,
    /// Most map tasks; none for one per file.
    #[taps(default = 32, min = 1)]
    map_tasks: Option<u32>,
    /// How many of the most common words are reported.
    #[taps(default = 10, max = 100_000)]
    top: u32,
    /// Directory for the file `counts.tsv` with all counts.
    output_dir: Option<OutputDir>,
}

impl MapReduce {
    fn check(&self) -> Result<()> {
        match (&self.data_dir, self.generate) {
            (None, false) => Err(Error::config(
                "data_dir",
                "none",
                "the path of a directory, unless generate = true",
            )),
            (Some(directory), true) => Err(Error::config(
                "data_dir",
                directory,
                "none, because generate = true",
            )),
            _ => Ok(()),
        }
    }

    /// Chunks of at most `map_tasks` balanced lists of files.
    fn chunks(&self, sizes: &[u64]) -> Vec<Vec<usize>> {
        let chunks = self.map_tasks.map_or(sizes.len(), |tasks| tasks as usize);
        listing::balance(sizes, chunks)
    }
}

/// What the tasks are to be held against.
struct Input {
    maps: Vec<Future<Counts>>,
    files: u64,
    /// Bytes, where they are known before they are read.
    bytes: Option<u64>,
    /// Words, where they are known before they are counted.
    words: Option<u64>,
}

#[taps::app(name = "mapreduce")]
fn run(config: MapReduce, engine: &Engine) -> Result<Report> {
    let file = config.output_dir.as_ref().map(CountsFile::create);
    let file = file.transpose()?;
    let input = match &config.data_dir {
        Some(directory) => map_files(&config, directory, engine)?,
        None => map_generated(&config, engine)?,
    };
    let result = reduce(engine, &input.maps)?;
    let (summary, text) = engine.submit(summary_task::call(&result, config.top, file.is_some()))?;
    finish_all(engine, input.maps)?;
    engine.phase("reduce");
    result.finish()?;
    drop(result);
    engine.phase("output");
    let summary = summary.result()?;
    if let Some(file) = file {
        file.write(&text.payload()?)?;
    }
    for (word, count) in &summary.top {
        taps::info!("{} ({count})", printable(word));
    }
    taps::info!("Total number of words: {}", summary.total);
    Ok(report(&summary, input.files, input.bytes, input.words))
}

/// Submits the map tasks of a directory.
fn map_files(config: &MapReduce, directory: &InputDir, engine: &Engine) -> Result<Input> {
    let files = listing::input_files(engine, directory)?;
    let sizes: Vec<u64> = files.iter().map(taps::Payload::size).collect();
    engine.phase("map");
    let maps = config
        .chunks(&sizes)
        .iter()
        .map(|chunk| {
            let chunk = chunk.iter().map(|file| &files[*file]);
            engine.submit(map_task::call(chunk))
        })
        .collect::<Result<_>>()?;
    Ok(Input {
        maps,
        files: files.len() as u64,
        bytes: Some(sizes.iter().sum()),
        words: None,
    })
}

/// Generates the files and, when all are there, submits their map tasks: generation is no part
/// of what is measured.
fn map_generated(config: &MapReduce, engine: &Engine) -> Result<Input> {
    engine.phase("generate");
    let seed = taps::seed();
    let texts = (0..u64::from(config.generated_files))
        .map(|file| {
            let seed = generate::draw(seed, file);
            engine.submit(generate_task::call(seed, config.generated_words))
        })
        .collect::<Result<Vec<Future<Bytes>>>>()?;
    finish_all(engine, texts.clone())?;
    engine.phase("map");
    let files = u64::from(config.generated_files);
    let maps = config
        .chunks(&vec![0; texts.len()])
        .iter()
        .map(|chunk| {
            let chunk = chunk.iter().map(|file| &texts[*file]);
            engine.submit(map_task::call(chunk))
        })
        .collect::<Result<_>>()?;
    Ok(Input {
        maps,
        files,
        bytes: None,
        words: Some(files * u64::from(config.generated_words)),
    })
}

/// Submits the reduction: one task, or levels of them where there are very many tables.
fn reduce(engine: &Engine, maps: &[Future<Counts>]) -> Result<Future<Counts>> {
    let mut tables = maps.to_vec();
    while tables.len() > LARGEST_FAN_IN {
        tables = tables
            .chunks(LARGEST_FAN_IN)
            .map(|tables| engine.submit(reduce_task::call(tables)))
            .collect::<Result<_>>()?;
    }
    engine.submit(reduce_task::call(&tables))
}

/// Waits for all tasks, without fetching results; the first that fails ends it.
fn finish_all<T>(engine: &Engine, futures: Vec<Future<T>>) -> Result<()> {
    engine
        .as_completed(futures)
        .try_for_each(|future| future.finish())
}

fn report(summary: &Summary, files: u64, bytes: Option<u64>, words: Option<u64>) -> Report {
    let equals = |value: u64| Bound::Equals(value.into());
    let mut report = Report::new()
        .check("files", summary.files, equals(files))
        .check("counted", summary.sum, equals(summary.total))
        .check("ordered", summary.ordered, Bound::Equals(true.into()));
    if let Some(bytes) = bytes {
        report = report.check("bytes", summary.bytes, equals(bytes));
    }
    if let Some(words) = words {
        report = report.check("total", summary.total, equals(words));
    }
    let top: Vec<_> = summary
        .top
        .iter()
        .map(|(word, count)| serde_json::json!([word, count]))
        .collect();
    report
        .value("total", summary.total)
        .value("distinct", summary.distinct)
        .value("top", top)
        .value("sha256", summary.sha256.as_str())
        .value("files", summary.files)
        .value("bytes", summary.bytes)
}

/// A word as a log can show it: not endless, and without control characters.
fn printable(word: &str) -> String {
    let mut text = String::new();
    for character in word.chars().take(LOGGED_CHARACTERS) {
        if character.is_control() {
            text.extend(character.escape_unicode());
        } else {
            text.push(character);
        }
    }
    if text.len() < word.len() && word.chars().nth(LOGGED_CHARACTERS).is_some() {
        text.push('…');
    }
    text
}
