//! The general settings as typed values.

use crate::faults::FaultsSettings;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use taps_schema::Kernels;

/// Settings that every run has, whatever its app and executor.
#[derive(Clone, Debug, PartialEq)]
pub struct General {
    /// Section `[engine]`.
    pub engine: EngineSettings,
    /// Section `[programs]`.
    pub programs: ProgramsSettings,
    /// Section `[faults]`.
    pub faults: FaultsSettings,
    /// Section `[logging]`.
    pub logging: LoggingSettings,
    /// Section `[live]`.
    pub live: LiveSettings,
    /// Section `[run]`.
    pub run: RunSettings,
}

/// Section `[engine]`.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineSettings {
    /// File name of the task records within the run directory; `None` writes none.
    pub task_record_file_name: Option<String>,
    /// Attempts of a task after the first.
    pub retries: u32,
    /// Names of the outcomes that are tried again.
    pub retry_on: Vec<String>,
    /// Retries after an outcome, by its name, instead of `retries`.
    pub retries_for: BTreeMap<String, u32>,
    /// Pause before the first retry; it doubles with each one after.
    pub retry_backoff: Duration,
    /// Most workers that a task may lose.
    pub crash_limit: u32,
    /// Wall-clock limit of an attempt.
    pub task_timeout: Option<Duration>,
    /// Limit of a sandbox's own memory; `None` leaves the app's own word or the built-in limit.
    pub task_memory_bytes: Option<u64>,
    /// Who computes dense linear algebra.
    pub kernels: Kernels,
    /// Where the sandbox of a task comes from.
    pub instances: Instances,
    /// Submitted and unfinished tasks at which `submit` blocks.
    pub max_outstanding: u32,
    /// How a running guest is interrupted.
    pub interrupt: Interrupt,
    /// Whether finished tasks are run again when a result that is needed is lost.
    pub lineage: bool,
    /// How long nothing may end before the outstanding tasks are reported; `None` never reports.
    pub watchdog: Option<Duration>,
    /// Results that also go to files.
    pub durable: Durable,
    /// Absolute path of the directory that keeps results of pure tasks from run to run.
    pub memoize: Option<PathBuf>,
    /// Section `[engine.payload]`.
    pub payload: PayloadSettings,
}

/// Section `[engine.payload]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadSettings {
    /// Largest payload that travels with the call.
    pub inline_max_bytes: u64,
    /// Smallest payload that is mapped instead of read.
    pub map_min_bytes: u64,
    /// Limit of all payloads held in memory at a time.
    pub limit_bytes: Option<u64>,
    /// Whether payloads beyond the limit go to files.
    pub spill: bool,
    /// Where; the run directory unless set.
    pub spill_dir: Option<PathBuf>,
    /// Kind of the payload store; `auto` for the best that there is.
    pub store: String,
    /// Whether arguments are compared with the digests of the results that they are.
    pub verify: bool,
    /// Whether large payloads get huge pages.
    pub huge_pages: bool,
}

/// Section `[programs]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramsSettings {
    /// Where programs are that are not on the `PATH`, by name.
    pub paths: BTreeMap<String, PathBuf>,
    /// What they may read besides the system's files, their installation and their inputs.
    pub read: Vec<PathBuf>,
    /// Names of those that an app which is not built in may call.
    pub allow: Vec<String>,
    /// Directory of their scratch directories and files; the run directory unless set.
    pub directory: Option<PathBuf>,
    /// Whether a program that cannot be confined in every way is refused.
    pub require_sandbox: bool,
    /// CPU time of one process.
    pub cpu_limit: Option<Duration>,
    /// Address space of one process, in bytes.
    pub memory_bytes: Option<u64>,
    /// Length of any file that one writes, in bytes.
    pub file_bytes: u64,
    /// Descriptors that one process may have open.
    pub open_files: u64,
    /// Bytes of standard output, and of standard error, at which one is killed.
    pub output_bytes: u64,
}

/// Section `[logging]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggingSettings {
    /// Least weight of a line shown on the terminal.
    pub level: LogLevel,
    /// Least weight of a line in the log file; `level` unless set.
    pub file_level: LogLevel,
    /// File name of the log within the run directory; `None` writes none.
    pub file_name: Option<String>,
}

/// Section `[live]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveSettings {
    /// Port of the page that shows the run; 0 for any.
    pub dashboard: Option<u16>,
    /// Port of the numbers for Prometheus; 0 for any.
    pub metrics_port: Option<u16>,
    /// Address of the OpenTelemetry collector, or `env`.
    pub otlp_endpoint: Option<String>,
}

/// Section `[run]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSettings {
    /// Pattern of the run directory.
    pub dir_format: DirFormat,
    /// Environment variables that tasks see.
    pub env_vars: BTreeMap<String, String>,
    /// Seed of everything random in the run.
    pub seed: u64,
    /// How often the app runs, each time in a run directory of its own.
    pub repeat: u32,
}

/// Where the sandbox of a task comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Instances {
    /// As the bundle says of each component, else made for the task.
    #[default]
    Auto,
    /// Made for the task when it starts.
    Fresh,
    /// Made ahead of time, used once.
    Prewarmed,
    /// Used again for tasks of the same app until one traps.
    Reuse,
}

/// How a running guest is interrupted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Interrupt {
    /// By checks compiled into the guest.
    #[default]
    Epoch,
    /// By killing its worker, where the executor can; elsewhere as `Epoch`.
    Free,
}

/// Results that also go to files, so that a run that is resumed needs not compute them again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durable {
    /// None but those within the event log.
    #[default]
    None,
    /// Those that are spilled.
    Spill,
    /// All.
    All,
}

/// Weight of a log line: TaPS's numbers and names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogLevel(pub u8);

impl LogLevel {
    /// Names and numbers, ascending.
    pub const NAMED: [(&'static str, Self); 8] = [
        ("TRACE", Self(5)),
        ("DEBUG", Self(10)),
        ("INFO", Self(20)),
        ("APP", Self(21)),
        ("RUN", Self(22)),
        ("WARNING", Self(30)),
        ("ERROR", Self(40)),
        ("CRITICAL", Self(50)),
    ];

    /// The level of that name, whatever its case.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = if name.eq_ignore_ascii_case("warn") {
            "WARNING"
        } else {
            name
        };
        Self::NAMED
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|&(_, level)| level)
    }
}

/// Pattern of the run directory: text with the placeholders `{name}`, `{executor}` and
/// `{timestamp}`; a brace itself is doubled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirFormat {
    pattern: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name,
    Executor,
    Timestamp,
}

impl DirFormat {
    /// Reads a pattern, or says what is wrong with it.
    pub fn parse(pattern: &str) -> Result<Self, String> {
        if pattern.is_empty() {
            return Err("is empty".to_owned());
        }
        if pattern.contains('\0') {
            return Err("has a NUL character".to_owned());
        }
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = pattern;
        while let Some(character) = rest.chars().next() {
            rest = &rest[character.len_utf8()..];
            match character {
                '{' | '}' if rest.starts_with(character) => {
                    text.push(character);
                    rest = &rest[1..];
                }
                '{' => {
                    let Some((word, after)) = rest.split_once('}') else {
                        return Err("has a `{` without `}`".to_owned());
                    };
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                    pieces.push(Piece::placeholder(word)?);
                    rest = after;
                }
                '}' => return Err("has a `}` without `{`".to_owned()),
                other => text.push(other),
            }
        }
        pieces.push(Piece::Text(text));
        Ok(Self {
            pattern: pattern.to_owned(),
            pieces,
        })
    }

    /// The pattern as given.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The directory for these values.
    pub fn render(&self, name: &str, executor: &str, timestamp: &str) -> String {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.as_str(),
                Piece::Name => name,
                Piece::Executor => executor,
                Piece::Timestamp => timestamp,
            })
            .collect()
    }
}

impl Piece {
    fn placeholder(word: &str) -> Result<Self, String> {
        match word {
            "name" => Ok(Self::Name),
            "executor" => Ok(Self::Executor),
            "timestamp" => Ok(Self::Timestamp),
            _ => Err(format!(
                "has the unknown placeholder {{{}}}",
                crate::error::one_line(word)
            )),
        }
    }
}

impl General {
    /// The typed form of validated sections. A value that validation let through in another
    /// form than expected falls back to the setting's neutral value.
    pub(crate) fn from_sections(sections: &BTreeMap<&str, Map<String, Value>>) -> Self {
        let empty = Map::new();
        let section = |name: &str| Values(sections.get(name).unwrap_or(&empty));
        let logging = section("logging");
        let level = logging.level("level").unwrap_or(LogLevel(20));
        Self {
            engine: EngineSettings::from_values(&section("engine"), &section("engine.payload")),
            programs: ProgramsSettings::from_values(&section("programs")),
            faults: FaultsSettings::from_values(section("faults").0),
            logging: LoggingSettings {
                level,
                file_level: logging.level("file_level").unwrap_or(level),
                file_name: logging.text("file_name"),
            },
            live: LiveSettings::from_values(&section("live")),
            run: RunSettings::from_values(&section("run")),
        }
    }
}

impl EngineSettings {
    fn from_values(engine: &Values<'_>, payload: &Values<'_>) -> Self {
        Self {
            task_record_file_name: engine.text("task_record_file_name"),
            retries: engine.number("retries"),
            retry_on: engine.texts("retry_on"),
            retry_backoff: Duration::from_millis(engine.number("retry_backoff_ms")),
            retries_for: engine.retries_for(),
            crash_limit: engine.number("crash_limit"),
            task_timeout: engine.seconds("task_timeout"),
            task_memory_bytes: engine.size("task_memory"),
            kernels: match engine.text("kernels").as_deref() {
                Some("guest") => Kernels::Guest,
                _ => Kernels::Host,
            },
            instances: match engine.text("instances").as_deref() {
                Some("prewarmed") => Instances::Prewarmed,
                Some("reuse") => Instances::Reuse,
                Some("fresh") => Instances::Fresh,
                _ => Instances::Auto,
            },
            max_outstanding: engine.number("max_outstanding"),
            interrupt: match engine.text("interrupt").as_deref() {
                Some("free") => Interrupt::Free,
                _ => Interrupt::Epoch,
            },
            lineage: engine.boolean("lineage"),
            watchdog: engine.seconds("watchdog"),
            durable: match engine.text("durable").as_deref() {
                Some("spill") => Durable::Spill,
                Some("all") => Durable::All,
                _ => Durable::None,
            },
            memoize: engine.text("memoize").map(PathBuf::from),
            payload: PayloadSettings {
                inline_max_bytes: payload.number("inline_max_bytes"),
                map_min_bytes: payload.number("map_min_bytes"),
                limit_bytes: payload.size("limit"),
                spill: payload.boolean("spill"),
                spill_dir: payload.text("spill_dir").map(PathBuf::from),
                store: payload.text("store").unwrap_or_default(),
                verify: payload.boolean("verify"),
                huge_pages: payload.boolean("huge_pages"),
            },
        }
    }
}

impl ProgramsSettings {
    fn from_values(programs: &Values<'_>) -> Self {
        let paths = programs.0.get("paths").and_then(Value::as_object);
        let path = |(name, path): (&String, &Value)| Some((name.clone(), path.as_str()?.into()));
        Self {
            paths: paths.into_iter().flatten().filter_map(path).collect(),
            read: programs
                .texts("read")
                .into_iter()
                .map(PathBuf::from)
                .collect(),
            allow: programs.texts("allow"),
            directory: programs.text("directory").map(PathBuf::from),
            require_sandbox: programs.boolean("require_sandbox"),
            cpu_limit: programs.seconds("cpu_limit"),
            memory_bytes: programs.size("memory_limit"),
            file_bytes: programs.size("file_limit").unwrap_or(u64::MAX),
            open_files: programs.number("open_files"),
            output_bytes: programs.size("output_limit").unwrap_or(u64::MAX),
        }
    }
}

impl LiveSettings {
    fn from_values(live: &Values<'_>) -> Self {
        let port = |key: &str| u16::try_from(live.0.get(key)?.as_u64()?).ok();
        Self {
            dashboard: port("dashboard"),
            metrics_port: port("metrics_port"),
            otlp_endpoint: live.text("otlp_endpoint"),
        }
    }
}

impl RunSettings {
    fn from_values(run: &Values<'_>) -> Self {
        let pattern = run.text("dir_format").unwrap_or_default();
        Self {
            dir_format: DirFormat::parse(&pattern).unwrap_or(DirFormat {
                pattern,
                pieces: Vec::new(),
            }),
            env_vars: match run.0.get("env_vars") {
                Some(Value::Object(variables)) => variables
                    .iter()
                    .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                    .collect(),
                _ => BTreeMap::new(),
            },
            seed: run.number("seed"),
            repeat: run.number("repeat"),
        }
    }
}

/// Reads typed values from a validated section.
struct Values<'a>(&'a Map<String, Value>);

impl Values<'_> {
    fn text(&self, key: &str) -> Option<String> {
        self.0.get(key)?.as_str().map(str::to_owned)
    }

    fn texts(&self, key: &str) -> Vec<String> {
        let items = self.0.get(key).and_then(Value::as_array);
        items
            .into_iter()
            .flatten()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    }

    fn number<T: TryFrom<u64> + Default>(&self, key: &str) -> T {
        let number = self.0.get(key).and_then(Value::as_u64);
        number
            .and_then(|number| T::try_from(number).ok())
            .unwrap_or_default()
    }

    fn boolean(&self, key: &str) -> bool {
        self.0.get(key).and_then(Value::as_bool).unwrap_or_default()
    }

    fn seconds(&self, key: &str) -> Option<Duration> {
        let seconds = self.0.get(key)?.as_f64()?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    fn retries_for(&self) -> BTreeMap<String, u32> {
        let table = self.0.get("retries_for").and_then(Value::as_object);
        let numbers = table.into_iter().flatten().filter_map(|(name, number)| {
            let number = u32::try_from(number.as_u64()?).ok()?;
            Some((name.clone(), number))
        });
        numbers.collect()
    }

    fn size(&self, key: &str) -> Option<u64> {
        crate::units::parse_size(self.0.get(key)?.as_str()?)
    }

    fn level(&self, key: &str) -> Option<LogLevel> {
        match self.0.get(key)? {
            Value::String(name) => LogLevel::from_name(name),
            number => u8::try_from(number.as_u64()?).ok().map(LogLevel),
        }
    }
}
