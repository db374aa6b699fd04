//! The directory of a run.

use crate::{
    EVENTS_FILE, Environment, EventLog, LogError, LogEvent, Reopened, TASKS_FILE,
    whole_file::WholeFile,
};
use jiff::Zoned;
use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// Name of the resolved configuration in a run directory.
pub const CONFIG_FILE: &str = "config.toml";
/// Name of the description of the machine in a run directory.
pub const ENVIRONMENT_FILE: &str = "environment.json";
/// Name of the report on injected faults in a run directory.
pub const FAILURES_FILE: &str = "failures.json";
/// Usual name of the log lines in a run directory.
pub const LOG_FILE: &str = "log.txt";

/// Where the time of a run goes in a format.
const TIMESTAMP: &str = "timestamp";

/// How many suffixes are tried.
const MAX_SUFFIX: u32 = 9_999;

/// What a run directory is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDirOptions {
    /// Path with the placeholders `{name}`, `{executor}` and `{timestamp}` (local time,
    /// `YYYY-MM-DD-HH-MM-SS`); `{{` and `}}` stand for braces.
    pub format: String,
    /// Name of the app, for `{name}`.
    pub name: String,
    /// Name of the executor, for `{executor}`.
    pub executor: String,
    /// Name of the file for log lines; `None` for no such file.
    pub log_file: Option<String>,
    /// Name of the file for task records; `None` for no such file.
    pub tasks_file: Option<String>,
}

impl RunDirOptions {
    /// TaPS's defaults for an app and an executor.
    pub fn new(name: impl Into<String>, executor: impl Into<String>) -> Self {
        Self {
            format: "runs/{name}_{executor}_{timestamp}".into(),
            name: name.into(),
            executor: executor.into(),
            log_file: Some(LOG_FILE.into()),
            tasks_file: Some(TASKS_FILE.into()),
        }
    }

    /// Checks format and file names without touching the file system.
    pub fn validate(&self) -> Result<(), RunDirError> {
        self.expand("").map(drop)?;
        self.check_file_names()
    }

    fn check_file_names(&self) -> Result<(), RunDirError> {
        let mut taken = vec![CONFIG_FILE, ENVIRONMENT_FILE, EVENTS_FILE, FAILURES_FILE];
        let named = [
            ("logging.file_name", &self.log_file),
            ("engine.task_record_file_name", &self.tasks_file),
        ];
        for (option, name) in named {
            let Some(name) = name.as_deref() else {
                continue;
            };
            let reason = if !is_plain_name(name) {
                "it must be a plain file name"
            } else if taken.contains(&name) {
                "the run directory has another file of that name"
            } else {
                taken.push(name);
                continue;
            };
            return Err(RunDirError::FileName {
                option,
                name: name.to_owned(),
                reason,
            });
        }
        Ok(())
    }

    /// The path, and whether the time is in it.
    fn expand(&self, timestamp: &str) -> Result<(PathBuf, bool), RunDirError> {
        let mut path = String::new();
        let mut timed = false;
        let mut rest = self.format.as_str();
        while let Some(at) = rest.find(['{', '}']) {
            path.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                path.push_str(brace);
                rest = after;
                continue;
            }
            let Some((placeholder, after)) = rest.split_once('}').filter(|_| brace == "{") else {
                return Err(RunDirError::Unbalanced {
                    format: self.format.clone(),
                });
            };
            path.push_str(self.value(placeholder, timestamp)?);
            timed |= placeholder == TIMESTAMP;
            rest = after;
        }
        path.push_str(rest);
        if path.is_empty() {
            return Err(RunDirError::Empty);
        }
        Ok((PathBuf::from(path), timed))
    }

    fn value<'a>(&'a self, placeholder: &str, timestamp: &'a str) -> Result<&'a str, RunDirError> {
        let (placeholder, value) = match placeholder {
            "name" => ("name", &*self.name),
            "executor" => ("executor", &*self.executor),
            TIMESTAMP => return Ok(timestamp),
            other => {
                return Err(RunDirError::UnknownPlaceholder {
                    placeholder: other.to_owned(),
                    format: self.format.clone(),
                });
            }
        };
        // A name comes from a bundle that somebody sent: it must not lead elsewhere.
        if !is_plain_name(value) {
            return Err(RunDirError::Value {
                placeholder,
                value: value.to_owned(),
            });
        }
        Ok(value)
    }
}

/// Whether a name is that of a file in the same directory.
fn is_plain_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

/// Why there is no run directory, or no file in it.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// The format has a placeholder that does not exist.
    #[error(
        "run.dir_format `{format}` has the unknown placeholder `{{{placeholder}}}`: \
         `{{name}}`, `{{executor}}` and `{{timestamp}}` are allowed"
    )]
    UnknownPlaceholder {
        /// The placeholder, without braces.
        placeholder: String,
        /// The format.
        format: String,
    },
    /// The format has a brace without its partner.
    #[error("run.dir_format `{format}` has an unmatched brace: write `{{{{` or `}}}}` for a brace")]
    Unbalanced {
        /// The format.
        format: String,
    },
    /// The format gives no path.
    #[error("run.dir_format is empty")]
    Empty,
    /// A name cannot be part of a path.
    #[error("run.dir_format: `{value}`, for `{{{placeholder}}}`, cannot be part of a path")]
    Value {
        /// The placeholder.
        placeholder: &'static str,
        /// What was to replace it.
        value: String,
    },
    /// A file of the run directory cannot have the name asked for.
    #[error("{option} is `{name}`: {reason}")]
    FileName {
        /// Key of the configuration.
        option: &'static str,
        /// Name asked for.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The directory belongs to another run.
    #[error("{} exists; choose another run.dir_format or remove it", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// A directory is not that of a run.
    #[error("{} is no run directory: it has no {EVENTS_FILE}", path.display())]
    NotARun {
        /// The directory.
        path: PathBuf,
    },
    /// The directory could not be made.
    #[error("create the run directory {}", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file could not be written. It is not there.
    #[error("write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The directory of one run, shared with no other run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
    log_file: Option<PathBuf>,
    tasks_file: Option<PathBuf>,
}

impl RunDir {
    /// Makes the directory, and its parents where they are missing. When a directory of that
    /// name exists, a format with the time in it gets the suffix `-1`, `-2`, and so on; any
    /// other is refused.
    pub fn create(options: &RunDirOptions) -> Result<Self, RunDirError> {
        let timestamp = Zoned::now().strftime("%Y-%m-%d-%H-%M-%S").to_string();
        Self::create_at(options, &timestamp)
    }

    /// The directory of a run that began before. Of the options only the names of its files count. Who writes
    /// to it is decided by [`RunDir::reopen_event_log`].
    pub fn open(path: &Path, options: &RunDirOptions) -> Result<Self, RunDirError> {
        options.check_file_names()?;
        let path = std::path::absolute(path).map_err(|source| RunDirError::Create {
            path: path.to_owned(),
            source,
        })?;
        if !path.join(EVENTS_FILE).is_file() {
            return Err(RunDirError::NotARun { path });
        }
        Ok(Self::at(path, options))
    }

    fn at(path: PathBuf, options: &RunDirOptions) -> Self {
        let file = |name: &Option<String>| name.as_ref().map(|name| path.join(name));
        Self {
            log_file: file(&options.log_file),
            tasks_file: file(&options.tasks_file),
            path,
        }
    }

    fn create_at(options: &RunDirOptions, timestamp: &str) -> Result<Self, RunDirError> {
        options.check_file_names()?;
        let (path, timed) = options.expand(timestamp)?;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| RunDirError::Create { path, source }
        };
        let path = std::path::absolute(&path).map_err(failed(&path))?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed(&path))?;
        }
        let mut suffix = 0;
        loop {
            let candidate = with_suffix(&path, suffix);
            // Making the directory is the claim on it: two runs cannot both succeed.
            match fs::create_dir(&candidate) {
                Ok(()) => return Ok(Self::at(candidate, options)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if !timed || suffix == MAX_SUFFIX {
                        return Err(RunDirError::Exists { path });
                    }
                    suffix += 1;
                }
                Err(error) => return Err(failed(&candidate)(error)),
            }
        }
    }

    /// The directory, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The resolved configuration.
    pub fn config_path(&self) -> PathBuf {
        self.path.join(CONFIG_FILE)
    }

    /// What the run ran on.
    pub fn environment_path(&self) -> PathBuf {
        self.path.join(ENVIRONMENT_FILE)
    }

    /// The event log.
    pub fn events_path(&self) -> PathBuf {
        self.path.join(EVENTS_FILE)
    }

    /// The log lines, unless disabled.
    pub fn log_path(&self) -> Option<&Path> {
        self.log_file.as_deref()
    }

    /// What became of injected faults; there is such a file only when there were any.
    pub fn failures_path(&self) -> PathBuf {
        self.path.join(FAILURES_FILE)
    }

    /// The task records, unless disabled.
    pub fn tasks_path(&self) -> Option<&Path> {
        self.tasks_file.as_deref()
    }

    /// Writes `config.toml`: the text as given.
    pub fn write_config(&self, text: &str) -> Result<(), RunDirError> {
        write(self.config_path(), text.as_bytes())
    }

    /// Writes `environment.json`.
    pub fn write_environment(&self, environment: &Environment) -> Result<(), RunDirError> {
        write(self.environment_path(), environment.to_json().as_bytes())
    }

    /// Begins `events.log`.
    pub fn create_event_log(&self) -> Result<EventLog, LogError> {
        EventLog::create(&self.events_path())
    }

    /// Goes on with `events.log`: see [`EventLog::reopen`].
    pub fn reopen_event_log(&self, each: impl FnMut(LogEvent)) -> Result<Reopened, LogError> {
        EventLog::reopen(&self.events_path(), each)
    }
}

fn with_suffix(path: &Path, suffix: u32) -> PathBuf {
    if suffix == 0 {
        return path.to_owned();
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!("-{suffix}"));
    path.with_file_name(name)
}

fn write(path: PathBuf, bytes: &[u8]) -> Result<(), RunDirError> {
    WholeFile::write_all_to(&path, bytes).map_err(|source| RunDirError::Write { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(format: &str) -> RunDirOptions {
        RunDirOptions {
            format: format.to_owned(),
            ..RunDirOptions::new("cholesky", "thread-pool")
        }
    }

    fn expanded(format: &str) -> Result<String, String> {
        options(format)
            .expand("2026-01-02-03-04-05")
            .map(|(path, _)| path.display().to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn placeholders_are_replaced() {
        assert_eq!(
            expanded("runs/{name}_{executor}_{timestamp}").as_deref(),
            Ok("runs/cholesky_thread-pool_2026-01-02-03-04-05")
        );
        assert_eq!(expanded("a{{b}}c").as_deref(), Ok("a{b}c"));
    }

    #[test]
    fn bad_formats_are_refused() {
        assert_eq!(
            expanded("runs/{app}").expect_err("unknown"),
            "run.dir_format `runs/{app}` has the unknown placeholder `{app}`: `{name}`, `{executor}` and `{timestamp}` are allowed"
        );
        for format in ["runs/{name", "runs/name}", "{", "}"] {
            let error = expanded(format).expect_err(format);
            assert!(
                error.contains("unmatched brace: write `{{` or `}}`"),
                "{error}"
            );
        }
        assert_eq!(expanded("").expect_err("empty"), "run.dir_format is empty");
    }

    #[test]
    fn a_name_cannot_lead_elsewhere() {
        for name in ["../../etc", "..", "a/b", ""] {
            let mut options = options("runs/{name}");
            options.name = name.to_owned();
            let error = options.validate().expect_err(name);
            assert!(matches!(error, RunDirError::Value { .. }), "{error}");
        }
    }

    #[test]
    fn file_names_are_checked() {
        for name in ["a/b", "", "..", "config.toml", "events.log", "log.txt"] {
            let mut options = options("x");
            options.tasks_file = Some(name.to_owned());
            let error = options.validate().expect_err(name);
            assert!(
                error
                    .to_string()
                    .starts_with("engine.task_record_file_name is")
            );
        }
        let mut options = options("x");
        options.log_file = None;
        options.tasks_file = None;
        options.validate().expect("both disabled");
    }

    #[test]
    fn a_timed_directory_gets_a_suffix() {
        let root = tempfile::tempdir().expect("temporary directory");
        let format = format!("{}/a/b/run_{{timestamp}}", root.path().display());
        let names: Vec<_> = (0..3)
            .map(|_| RunDir::create_at(&options(&format), "T").expect("run directory"))
            .map(|run| run.path().file_name().expect("name").to_owned())
            .collect();
        assert_eq!(names, ["run_T", "run_T-1", "run_T-2"]);
    }

    #[test]
    fn a_fixed_directory_is_refused_and_untouched() {
        let root = tempfile::tempdir().expect("temporary directory");
        let options = options(&format!("{}/x", root.path().display()));
        let run = RunDir::create(&options).expect("first");
        run.write_config("a = 1").expect("config");
        let error = RunDir::create(&options).expect_err("second");
        assert!(
            error
                .to_string()
                .ends_with("/x exists; choose another run.dir_format or remove it")
        );
        assert_eq!(
            fs::read_to_string(run.config_path()).expect("config"),
            "a = 1"
        );
    }

    #[test]
    fn runs_that_start_together_never_share() {
        let root = tempfile::tempdir().expect("temporary directory");
        let format = format!("{}/{{timestamp}}", root.path().display());
        let mut paths: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| RunDir::create_at(&options(&format), "T").expect("run")))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("thread").path)
                .collect()
        });
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), 16);
    }

    #[test]
    fn an_impossible_directory_is_named() {
        let root = tempfile::tempdir().expect("temporary directory");
        let file = root.path().join("file");
        fs::write(&file, "").expect("write");
        let error = RunDir::create(&options(&format!("{}/x", file.display()))).expect_err("file");
        assert!(matches!(&error, RunDirError::Create { path, .. } if path.ends_with("file/x")));
    }

    #[test]
    fn a_run_directory_is_opened_again() {
        let root = tempfile::tempdir().expect("temporary directory");
        let mut options = options(&format!("{}/x", root.path().display()));
        options.tasks_file = Some("t.jsonl".into());
        let run = RunDir::create(&options).expect("run directory");
        let error = RunDir::open(run.path(), &options).expect_err("no log yet");
        assert_eq!(
            error.to_string(),
            format!(
                "{} is no run directory: it has no events.log",
                run.path().display()
            )
        );
        run.create_event_log().expect("log").close().expect("close");
        assert_eq!(RunDir::open(run.path(), &options).expect("open"), run);
        let error = run.reopen_event_log(drop).expect_err("an empty log");
        assert!(matches!(error, LogError::NoStart { .. }), "{error}");
    }

    #[test]
    fn files_are_where_they_should_be() {
        let root = tempfile::tempdir().expect("temporary directory");
        let mut options = options(&format!("{}/x", root.path().display()));
        options.log_file = None;
        options.tasks_file = Some("t.jsonl".into());
        let run = RunDir::create(&options).expect("run directory");
        let text = "# comment\r\nkey = \"\u{e9}\"  \n";
        run.write_config(text).expect("config");
        run.write_environment(&Environment::collect(crate::EnvironmentExtra::default()))
            .expect("environment");
        run.create_event_log().expect("log").close().expect("close");
        assert_eq!(fs::read_to_string(run.config_path()).expect("config"), text);
        assert_eq!(run.log_path(), None);
        assert_eq!(run.tasks_path(), Some(&*run.path().join("t.jsonl")));
        let mut names: Vec<_> = fs::read_dir(run.path())
            .expect("list")
            .map(|entry| entry.expect("entry").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["config.toml", "environment.json", "events.log"]);
    }
}
