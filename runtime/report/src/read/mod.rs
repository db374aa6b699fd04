//! Reading a run directory, as far as it can be read.

mod log;
mod ongoing;
mod tasks;

pub use ongoing::Ongoing;

use crate::{facts::Sink, model::Model};
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};
use taps_engine::Limits;
use taps_records::{CONFIG_FILE, ENVIRONMENT_FILE, EVENTS_FILE, FAILURES_FILE, RunStarted};

/// Version of the model.
const FORMAT: u32 = 1;
/// Largest file beside the log that is read whole.
const FILE_LIMIT: u64 = 16 << 20;
/// Most injected faults that are listed.
const FAULTS_LIMIT: usize = 1_000;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// There is nothing of that name.
    #[error("there is no run `{}`", path.display())]
    NoRun {
        /// What was named.
        path: PathBuf,
    },
    /// A directory has none of the files of a run.
    #[error(
        "{} is no run directory: it has no {EVENTS_FILE}, {CONFIG_FILE}, {ENVIRONMENT_FILE} or {FAILURES_FILE}",
        path.display()
    )]
    NotARun {
        /// The directory.
        path: PathBuf,
    },
}

/// How a run began and ended, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// How it began.
    pub started: RunStarted,
    /// `finished`, `failed`, `interrupted`, `killed` or `going-on`; `unknown` without a log.
    pub state: &'static str,
    /// Exit code, when it ended.
    pub exit_code: Option<i32>,
    /// Why it failed.
    pub error: Option<String>,
    /// What the driver reported, as JSON.
    pub report: Option<String>,
    /// Byte from which on the log is damaged.
    pub damaged_at: Option<u64>,
}

/// What is known of a run besides what streamed by.
#[derive(Clone, Debug, Default)]
pub struct Streamed {
    /// How it began and ended; `None` where there are neither a log nor task records to be read.
    pub told: Option<Told>,
    /// Text of its configuration.
    pub config: Option<String>,
    /// Content of `environment.json`.
    pub environment: Option<serde_json::Value>,
    /// What could not be read or is not recorded, for people.
    pub notes: Vec<String>,
}

/// Streams a run by that is named by its directory or its event log, whatever its size: its log, or where that cannot
/// be read its task records. Fails only where there is nothing of a run: what cannot be read is named in the notes.
pub fn stream(path: &Path, sink: &mut impl Sink) -> Result<Streamed, ReportError> {
    let files = Files::find(path)?;
    let mut notes = Vec::new();
    let told = log::stream(&files, sink, &mut notes);
    let of_log = told.as_ref().map(|told| told.started.config_toml.clone());
    let (config, table) = configuration(&files, of_log, &mut notes);
    let told = told.or_else(|| tasks::stream(&files, &table, sink, &mut notes));
    Ok(Streamed {
        told,
        config,
        environment: environment(&files, &mut notes),
        notes,
    })
}

/// The files of a run.
struct Files {
    log: PathBuf,
    /// `None` when only the log was named.
    directory: Option<PathBuf>,
}

impl Files {
    fn find(path: &Path) -> Result<Self, ReportError> {
        let owned = path.to_owned();
        if path.is_file() {
            let named_so = path.file_name().is_some_and(|name| name == EVENTS_FILE);
            return Ok(Self {
                directory: path.parent().filter(|_| named_so).map(Path::to_owned),
                log: owned,
            });
        }
        if !path.exists() {
            return Err(ReportError::NoRun { path: owned });
        }
        let files = [EVENTS_FILE, CONFIG_FILE, ENVIRONMENT_FILE, FAILURES_FILE];
        if !files.iter().any(|name| path.join(name).is_file()) {
            return Err(ReportError::NotARun { path: owned });
        }
        Ok(Self {
            log: path.join(EVENTS_FILE),
            directory: Some(owned),
        })
    }

    /// The text of a file beside the log; `None`, and a note where it should be, when it cannot be read.
    fn text(&self, name: &str, notes: &mut Vec<String>) -> Option<String> {
        let path = self.directory.as_ref()?.join(name);
        let mut text = String::new();
        let read =
            File::open(&path).and_then(|file| file.take(FILE_LIMIT + 1).read_to_string(&mut text));
        match read {
            Ok(_) if text.len() as u64 > FILE_LIMIT => {
                notes.push(format!(
                    "{name} is larger than {FILE_LIMIT} bytes and was not read"
                ));
                None
            }
            Ok(_) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                notes.push(format!("{name} cannot be read: {error}"));
                None
            }
        }
    }

    /// The JSON of a file beside the log.
    fn json(&self, name: &str, notes: &mut Vec<String>) -> Option<serde_json::Value> {
        let text = self.text(name, notes)?;
        match serde_json::from_str(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                notes.push(format!("{name} is damaged: {error}"));
                None
            }
        }
    }
}

/// Reads a run that is named by its directory or its event log. Fails only where there is nothing of a run: what
/// cannot be read is named in the notes. Memory is bounded by a few words for each task, not by the log.
pub fn read(path: &Path) -> Result<Model, ReportError> {
    let files = Files::find(path)?;
    let mut model = blank(path);
    log::read(&files, &mut model);
    complete(&files, &mut model);
    Ok(model)
}

/// The model of a run of which nothing was read.
fn blank(path: &Path) -> Model {
    let mut model = Model {
        format: FORMAT,
        path: path.display().to_string(),
        ..Model::default()
    };
    model.memory.default_limit_bytes = Limits::default().memory_bytes;
    model.graph.of = "tasks";
    model.attempts.one_of = 1;
    model
}

/// Fills in what stands beside the log, or instead of one.
fn complete(files: &Files, model: &mut Model) {
    let (text, config) = configuration(files, model.config.take(), &mut model.notes);
    model.config = text;
    if model.run.is_none() {
        tasks::read(files, &config, model);
        model.injection = failures(files, &mut model.notes);
    }
    model.memory.limit_bytes = memory_limit(&config);
    model.environment = environment(files, &mut model.notes);
}

/// The configuration, text and values: as the log has it, or else as the file has it. Empty where it cannot be read.
fn configuration(
    files: &Files,
    of_log: Option<String>,
    notes: &mut Vec<String>,
) -> (Option<String>, toml::Table) {
    let of_file = files.text(CONFIG_FILE, notes);
    if let (Some(of_log), Some(of_file)) = (&of_log, &of_file)
        && of_log != of_file
    {
        notes.push(format!(
            "{CONFIG_FILE} was changed since the run: shown is what the log says"
        ));
    }
    let Some(text) = of_log.or(of_file) else {
        notes.push(format!("there is no {CONFIG_FILE}"));
        return (None, toml::Table::new());
    };
    let table = text.parse().unwrap_or_else(|error: toml::de::Error| {
        notes.push(format!("{CONFIG_FILE} is damaged: {}", error.message()));
        toml::Table::new()
    });
    (Some(text), table)
}

/// What the run ran on.
fn environment(files: &Files, notes: &mut Vec<String>) -> Option<serde_json::Value> {
    let Some(directory) = &files.directory else {
        notes.push("only the log was named: the environment is not known".into());
        return None;
    };
    let environment = files.json(ENVIRONMENT_FILE, notes);
    if environment.is_none() && !directory.join(ENVIRONMENT_FILE).exists() {
        notes.push(format!("there is no {ENVIRONMENT_FILE}"));
    }
    environment
}

/// `failures.json` with as many faults as are listed.
fn failures(files: &Files, notes: &mut Vec<String>) -> Option<serde_json::Value> {
    let mut failures = files.json(FAILURES_FILE, notes)?;
    if let Some(serde_json::Value::Array(faults)) = failures.get_mut("faults") {
        faults.truncate(FAULTS_LIMIT);
    }
    Some(failures)
}

/// `engine.task_memory`: a size with its unit, or a number of MB.
fn memory_limit(config: &toml::Table) -> Option<u64> {
    match config.get("engine")?.get("task_memory")? {
        toml::Value::Integer(megabytes) => u64::try_from(*megabytes).ok()?.checked_mul(1_000_000),
        toml::Value::String(text) => {
            let (number, unit) = text.split_once(' ')?;
            let scale: u64 = match unit {
                "B" => 1,
                "KiB" => 1 << 10,
                "MiB" => 1 << 20,
                "GiB" => 1 << 30,
                "TiB" => 1 << 40,
                "KB" | "kB" => 1_000,
                "MB" => 1_000_000,
                "GB" => 1_000_000_000,
                "TB" => 1_000_000_000_000,
                _ => return None,
            };
            number.parse::<u64>().ok()?.checked_mul(scale)
        }
        _ => None,
    }
}
