//! Which engines' packages an interpreter has.

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Read as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

/// What is run in the interpreter.
const PROGRAM: &str = include_str!("../../../python/taps_wasm/_bridge/packages.py");

/// The versions that the tests run against, as pip writes them.
const TESTED: &str = include_str!("../../../python/constraints.txt");

/// A Python interpreter, and what it has for engines.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Interpreter {
    /// Its version.
    pub version: String,
    /// Its path, as it knows it.
    pub executable: String,
    /// Whether the bridge runs in it.
    pub supported: bool,
    /// The first version in which it does.
    pub minimum: String,
    /// Packages of engines.
    pub packages: Vec<EnginePackage>,
}

/// The package of an engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnginePackage {
    /// As it is installed.
    pub name: String,
    /// Executors that need it.
    pub executors: Vec<String>,
    /// The version that is there.
    pub version: Option<String>,
    /// The first version that the bridge knows; none where all serve.
    pub minimum: Option<String>,
    /// The version that the tests run against, where they run against one.
    #[serde(default)]
    pub tested: Option<String>,
    /// Whether it is there, and not too old.
    pub supported: bool,
    /// The command that installs it, or a version that is supported.
    pub install: String,
}

/// Why nothing is known of an interpreter.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// It cannot be started.
    #[error("start it")]
    Start(#[source] io::Error),
    /// It gave no answer.
    #[error("it gave no answer within {0:?}")]
    Late(Duration),
    /// It gave another one.
    #[error("it ended without an answer, and said: {0}")]
    Answer(String),
}

/// Asks an interpreter, in one process that is ended when it takes longer than `limit`. No engine is imported.
pub fn survey(python: &Path, limit: Duration) -> Result<Interpreter, SurveyError> {
    let child = Command::new(python)
        .args(["-c", PROGRAM])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .process_group(0)
        .spawn()
        .map_err(SurveyError::Start)?;
    let mut asked = Asked(child);
    let (sender, answer) = mpsc::channel();
    let (out, err) = (asked.0.stdout.take(), asked.0.stderr.take());
    std::thread::spawn(move || {
        let said = out.map(read).unwrap_or_default();
        let complaint = err.map(read).unwrap_or_default();
        // Nobody listens to one that is late.
        let _ = sender.send((said, complaint));
    });
    let (said, complaint) = answer
        .recv_timeout(limit)
        .map_err(|_| SurveyError::Late(limit))?;
    let mut interpreter: Interpreter = serde_json::from_str(&said).map_err(|_| {
        let last = complaint.trim().lines().last();
        SurveyError::Answer(last.unwrap_or("nothing").to_owned())
    })?;
    for package in &mut interpreter.packages {
        package.tested = tested(&package.name);
    }
    Ok(interpreter)
}

/// An interpreter that is asked. Dropped, it and what it started have ended.
struct Asked(Child);

impl Drop for Asked {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.0.id().cast_signed());
        if let Some(group) = group.filter(|_| matches!(self.0.try_wait(), Ok(None))) {
            // It may end just now.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

/// All that it says, up to more than an answer has.
fn read(from: impl io::Read) -> String {
    let mut bytes = Vec::new();
    // What was read before an error is judged as it is.
    let _ = from.take(1 << 20).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn tested(package: &str) -> Option<String> {
    TESTED.lines().find_map(|line| {
        let (name, version) = line.split_once("==")?;
        (name == package).then(|| version.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Instant};

    fn script(directory: &Path, text: &str) -> PathBuf {
        let path = directory.join("python");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("write a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make it executable");
        path
    }

    #[test]
    fn one_that_says_nothing_useful_is_told_of_with_its_words() {
        let directory = tempfile::tempdir().expect("a directory");
        let python = script(directory.path(), "echo rubbish; echo trouble >&2");
        let error = survey(&python, Duration::from_mins(1)).expect_err("no answer");
        assert!(matches!(&error, SurveyError::Answer(words) if words == "trouble"));
        let none = survey(Path::new("/no/such/python"), Duration::from_mins(1));
        assert!(matches!(none, Err(SurveyError::Start(_))));
    }

    #[test]
    fn one_that_hangs_is_ended_with_what_it_started() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("pid");
        let text = format!("sleep 600 & echo $! > {}; wait", file.display());
        let python = script(directory.path(), &text);
        let error = survey(&python, Duration::from_millis(500)).expect_err("it hangs");
        assert!(matches!(error, SurveyError::Late(_)));
        let pid = fs::read_to_string(&file).expect("it ran");
        let stat = || fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        // It was sent the signal; dying takes its time, and who adopted it may not have buried it yet.
        let ended = || stat().is_empty() || stat().contains(") Z ");
        let patience = Instant::now() + Duration::from_mins(1);
        while !ended() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(ended(), "{}", stat());
    }

    #[test]
    fn versions_of_the_tests_are_known() {
        assert!(tested("distributed").is_some());
        assert_eq!(tested("numpy"), None);
    }
}
