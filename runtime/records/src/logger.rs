//! Log lines on stderr and in `log.txt`.

use crate::Level;
use jiff::{Timestamp, tz::TimeZone};
use parking_lot::Mutex;
use std::{
    fmt::{self, Write as _},
    fs::File,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// Threshold that no level reaches.
const OFF: u16 = u16::MAX;

/// Puts a whole line, its end included, on the terminal.
type TerminalWriter = Box<dyn FnMut(&str) + Send>;

/// Writes lines of the form `[YYYY-MM-DD HH:MM:SS.mmm] LEVEL (logger) > message`, local time,
/// to stderr and to a file, each from its own level on. Clones share everything.
///
/// The file is buffered: it is flushed with each line of [`Level::RUN`] or above, by
/// [`Logger::flush`], and when the last clone is dropped. A file that cannot be written is
/// given up with one line on stderr; it never fails the caller. Control characters in a
/// message, other than line ends and tabs, are shown escaped, so that a guest's output can
/// neither hide lines nor steer the terminal.
#[derive(Clone, Debug)]
pub struct Logger {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    terminal_from: AtomicU16,
    file_from: AtomicU16,
    state: Mutex<State>,
}

struct State {
    clock: Clock,
    line: String,
    terminal: TerminalWriter,
    file: Option<LogFile>,
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    writer: BufWriter<File>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Logger {
    /// A logger to stderr, from `level` on; `None` for silence. It has no file yet.
    pub fn new(level: Option<Level>) -> Self {
        Self {
            shared: Arc::new(Shared {
                terminal_from: AtomicU16::new(threshold(level)),
                file_from: AtomicU16::new(OFF),
                state: Mutex::new(State {
                    clock: Clock::new(TimeZone::system()),
                    line: String::new(),
                    terminal: stderr_writer(),
                    file: None,
                }),
            }),
        }
    }

    /// Writes the lines that come from now on also to a new file, from `level` on. The file
    /// must not exist.
    pub fn attach_file(&self, path: &Path, level: Level) -> io::Result<()> {
        self.attach(path, File::create_new(path)?, level);
        Ok(())
    }

    /// Like [`Logger::attach_file`], after the lines of a file that may exist: for a run that goes on.
    pub fn append_to_file(&self, path: &Path, level: Level) -> io::Result<()> {
        let file = File::options().append(true).create(true).open(path)?;
        self.attach(path, file, level);
        Ok(())
    }

    fn attach(&self, path: &Path, file: File, level: Level) {
        let file = LogFile {
            path: path.to_owned(),
            writer: BufWriter::with_capacity(64 << 10, file),
        };
        self.shared.state.lock().file = Some(file);
        self.shared
            .file_from
            .store(threshold(Some(level)), Ordering::Relaxed);
    }

    /// Hands lines for the terminal to `writer` instead of stderr: for a progress bar that has
    /// to step aside. Each call is one line (or message of several lines) with its end. The
    /// writer must not log.
    pub fn set_writer(&self, writer: impl FnMut(&str) + Send + 'static) {
        self.shared.state.lock().terminal = Box::new(writer);
    }

    /// Hands lines for the terminal to stderr again.
    pub fn reset_writer(&self) {
        self.shared.state.lock().terminal = stderr_writer();
    }

    /// Whether a line of this level goes anywhere.
    pub fn enabled(&self, level: Level) -> bool {
        let level = u16::from(level.number());
        level >= self.shared.terminal_from.load(Ordering::Relaxed)
            || level >= self.shared.file_from.load(Ordering::Relaxed)
    }

    /// Writes a line. `logger` names who speaks. The message is rendered only when the line
    /// goes somewhere; it may have several lines.
    pub fn log(&self, level: Level, logger: &str, message: impl fmt::Display) {
        if !self.enabled(level) {
            return;
        }
        // Rendered before the lock is taken, so that a message may itself log.
        let message = message.to_string();
        self.log_at(unix_ms(), level, logger, &message);
    }

    fn log_at(&self, unix_ms: i64, level: Level, logger: &str, message: &str) {
        let number = u16::from(level.number());
        let mut state = self.shared.state.lock();
        let state = &mut *state;
        state.line.clear();
        state.clock.write(unix_ms, &mut state.line);
        // Writing to a string cannot fail.
        let _ = write!(state.line, "{level:<5} ({logger}) > ");
        push_escaped(&mut state.line, message);
        state.line.push('\n');
        if number >= self.shared.terminal_from.load(Ordering::Relaxed) {
            (state.terminal)(&state.line);
        }
        if number >= self.shared.file_from.load(Ordering::Relaxed)
            && let Some(file) = &mut state.file
        {
            let mut written = file.writer.write_all(state.line.as_bytes());
            if level >= Level::RUN && written.is_ok() {
                written = file.writer.flush();
            }
            if let Err(error) = written {
                self.give_up_file(state, &error);
            }
        }
    }

    /// Writes what is buffered to the file.
    pub fn flush(&self) {
        let mut state = self.shared.state.lock();
        let state = &mut *state;
        if let Some(file) = &mut state.file
            && let Err(error) = file.writer.flush()
        {
            self.give_up_file(state, &error);
        }
    }

    fn give_up_file(&self, state: &mut State, error: &io::Error) {
        self.shared.file_from.store(OFF, Ordering::Relaxed);
        let Some(LogFile { path, writer }) = state.file.take() else {
            return;
        };
        // Without its buffer, which would be written again on drop.
        drop(writer.into_parts());
        state.line.clear();
        state.clock.write(unix_ms(), &mut state.line);
        let _ = writeln!(
            state.line,
            "{:<5} (run) > write {}: {error}; no more lines go there",
            Level::WARNING,
            path.display()
        );
        if self.shared.terminal_from.load(Ordering::Relaxed) != OFF {
            (state.terminal)(&state.line);
        }
    }
}

fn threshold(level: Option<Level>) -> u16 {
    level.map_or(OFF, |level| level.number().into())
}

fn stderr_writer() -> TerminalWriter {
    Box::new(|line| {
        // A closed stderr is nobody's concern.
        let _ = io::stderr().lock().write_all(line.as_bytes());
    })
}

fn unix_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

fn push_escaped(line: &mut String, message: &str) {
    let unwanted = |c: char| c.is_control() && c != '\n' && c != '\t';
    let message = message.strip_suffix('\n').unwrap_or(message);
    if !message.contains(unwanted) {
        line.push_str(message);
        return;
    }
    for c in message.chars() {
        if unwanted(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
}

/// Renders time stamps; a calendar is consulted once a second.
#[derive(Debug)]
struct Clock {
    zone: TimeZone,
    second: i64,
    prefix: String,
}

impl Clock {
    fn new(zone: TimeZone) -> Self {
        Self {
            zone,
            second: i64::MIN,
            prefix: String::new(),
        }
    }

    /// Appends `[YYYY-MM-DD HH:MM:SS.mmm] `.
    fn write(&mut self, unix_ms: i64, line: &mut String) {
        let second = unix_ms.div_euclid(1000);
        if second != self.second {
            let timestamp = Timestamp::from_second(second).unwrap_or_default();
            let local = timestamp.to_zoned(self.zone.clone());
            self.prefix.clear();
            let _ = write!(self.prefix, "{}", local.strftime("[%Y-%m-%d %H:%M:%S."));
            self.second = second;
        }
        line.push_str(&self.prefix);
        let _ = write!(line, "{:03}] ", unix_ms.rem_euclid(1000));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A logger whose terminal is a string.
    fn captured(level: Option<Level>) -> (Logger, Arc<Mutex<String>>) {
        let logger = Logger::new(level);
        let text = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&text);
        logger.set_writer(move |line| sink.lock().push_str(line));
        logger.shared.state.lock().clock = Clock::new(TimeZone::UTC);
        (logger, text)
    }

    #[test]
    fn a_line_has_the_documented_form() {
        let (logger, text) = captured(Some(Level::TRACE));
        logger.log_at(
            1_795_162_602_007,
            Level::RUN,
            "run",
            "Starting benchmark...",
        );
        logger.log_at(
            1_795_162_602_999,
            Level::WARNING,
            "engine.core",
            "two\nlines\n",
        );
        logger.log_at(1_795_162_603_000, Level::new(17), "app", "");
        assert_eq!(
            *text.lock(),
            "[2026-11-20 08:16:42.007] RUN   (run) > Starting benchmark...\n\
             [2026-11-20 08:16:42.999] WARNING (engine.core) > two\nlines\n\
             [2026-11-20 08:16:43.000] Level 17 (app) > \n"
        );
    }

    #[test]
    fn thresholds_are_apart() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("log.txt");
        let (logger, text) = captured(Some(Level::RUN));
        logger.attach_file(&path, Level::DEBUG).expect("log file");
        logger.log(Level::TRACE, "run", "nowhere");
        logger.log(Level::INFO, "run", "file only");
        logger.log(Level::ERROR, "run", "both");
        assert!(!logger.enabled(Level::TRACE) && logger.enabled(Level::DEBUG));
        drop(logger);
        let file = std::fs::read_to_string(&path).expect("log file");
        assert_eq!(file.lines().count(), 2);
        assert!(file.contains("file only") && file.contains("both"));
        assert_eq!(text.lock().lines().count(), 1);
        assert!(text.lock().contains("both"));
    }

    #[test]
    fn the_file_is_flushed_from_run_on_and_on_drop() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("log.txt");
        let length = || {
            std::fs::read_to_string(&path)
                .expect("log file")
                .lines()
                .count()
        };
        let logger = Logger::new(None);
        logger.attach_file(&path, Level::TRACE).expect("log file");
        logger.log(Level::INFO, "run", "one");
        assert_eq!(length(), 0);
        logger.log(Level::RUN, "run", "two");
        assert_eq!(length(), 2);
        logger.log(Level::INFO, "run", "three");
        logger.flush();
        assert_eq!(length(), 3);
        logger.log(Level::INFO, "run", "four");
        drop(logger);
        assert_eq!(length(), 4);
    }

    #[test]
    fn an_existing_file_is_refused() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("log.txt");
        std::fs::write(&path, "of another run").expect("write");
        let error = Logger::new(None)
            .attach_file(&path, Level::INFO)
            .expect_err("exists");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_run_that_goes_on_appends_its_lines() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("log.txt");
        for message in ["one", "two"] {
            let logger = Logger::new(None);
            logger.append_to_file(&path, Level::INFO).expect("log file");
            logger.log(Level::INFO, "run", message);
        }
        let text = std::fs::read_to_string(&path).expect("log file");
        let lines: Vec<_> = text.lines().collect();
        assert!(matches!(lines[..], [one, two] if one.ends_with("one") && two.ends_with("two")));
    }

    #[test]
    fn a_full_disk_ends_the_file_with_one_line() {
        let (logger, text) = captured(Some(Level::ERROR));
        let file = File::options()
            .write(true)
            .open("/dev/full")
            .expect("/dev/full");
        logger.shared.state.lock().file = Some(LogFile {
            path: PathBuf::from("/dev/full"),
            writer: BufWriter::new(file),
        });
        logger.shared.file_from.store(0, Ordering::Relaxed);
        logger.log(Level::RUN, "run", "lost");
        logger.log(Level::RUN, "run", "lost too");
        assert_eq!(text.lock().matches("no more lines go there").count(), 1);
        assert!(!logger.enabled(Level::RUN));
    }

    #[test]
    fn control_characters_are_shown() {
        let (logger, text) = captured(Some(Level::TRACE));
        logger.log_at(0, Level::APP, "guest", "\x1b[2Jgone\r\u{9b}\ttab é");
        assert_eq!(
            *text.lock(),
            "[1970-01-01 00:00:00.000] APP   (guest) > \\u{1b}[2Jgone\\r\\u{9b}\ttab é\n"
        );
    }

    #[test]
    fn threads_do_not_mix_lines() {
        let (logger, text) = captured(Some(Level::TRACE));
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let logger = logger.clone();
                scope.spawn(move || {
                    for number in 0..500 {
                        logger.log(Level::TRACE, "t", format_args!("{thread} {number} end"));
                    }
                });
            }
        });
        let text = text.lock();
        assert_eq!(text.lines().count(), 4000);
        assert!(
            text.lines()
                .all(|line| line.starts_with('[') && line.ends_with(" end"))
        );
    }
}
