//! Bundles in registries: a real registry on this machine, and users who know nothing of each other.

mod bad_input;
mod cached;
mod damaged;
mod interrupted;
mod line;
mod logins;
mod openssl;
mod server;
mod signatures;
mod skopeo;
mod tokens;
mod transfers;

use crate::harness::{Ended, Place, Running};
use serde_json::Value;
use std::{fs::File, path::PathBuf, process::Command};

/// Bytes of data in a large bundle.
const LARGE: usize = 5_000_000;

/// Somebody with a home, where nothing is kept and nobody is known.
pub(crate) struct User {
    pub(crate) place: Place,
}

impl User {
    pub(crate) fn new() -> Self {
        Self {
            place: Place::new(),
        }
    }

    /// A path in the user's working directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.place.command(args);
        command
            .env("HOME", self.path("home"))
            .env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    pub(crate) fn end(&self, command: Command) -> Ended {
        Running::new(command, self.place.path()).end()
    }

    pub(crate) fn call(&self, args: &[&str]) -> Ended {
        self.end(self.command(args))
    }

    /// With this on standard input.
    fn call_with(&self, input: &str, args: &[&str]) -> Ended {
        let path = self.place.write("input", input);
        let mut command = self.command(args);
        command.stdin(File::open(path).expect("it was written"));
        self.end(command)
    }

    /// With `--json`, and without a failure.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let ended = self.call(&[args, &["--json"]].concat());
        ended.expect(0).json()
    }

    /// Sends the built-in `mapreduce` there; gives its digest.
    #[track_caller]
    fn push(&self, reference: &str) -> String {
        let pushed = self.json(&["bundle", "push", "mapreduce", reference]);
        text(&pushed["digest"])
    }

    /// Makes `large.taps`, with more data than goes in one piece.
    fn build_large(&self) {
        let component = crate::harness::probe();
        let recipe = format!(
            "[[component]]\nfile = '{component}'\n[[data]]\nname = 'numbers'\nfile = 'numbers'\n"
        );
        self.place.write("large/bundle.toml", recipe);
        let numbers: Vec<u8> = (0..LARGE as u32 / 4).flat_map(u32::to_le_bytes).collect();
        self.place.write("large/numbers", numbers);
        self.call(&["bundle", "build", "large", "-o", "large.taps"])
            .expect(0);
    }

    /// Brings what is there; gives its digest.
    #[track_caller]
    fn pull(&self, reference: &str) -> String {
        let pulled = self.json(&["bundle", "pull", reference]);
        text(&pulled["digest"])
    }

    /// Digests of what is kept.
    #[track_caller]
    fn kept(&self) -> Vec<String> {
        let rows = self.json(&["bundle", "cache", "list"]);
        let rows = rows.as_array().expect("a list");
        rows.iter().map(|row| text(&row["digest"])).collect()
    }
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[track_caller]
fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

/// A small run of `mapreduce`, by whatever name.
fn run(app: &str) -> Vec<&str> {
    let small = [
        "--app.generate",
        "true",
        "--app.generated-words",
        "100",
        "--json",
    ];
    [&["run", app], &small[..]].concat()
}

/// What differs from run to run, from build to build, and from registry to registry.
pub(crate) fn settings() -> insta::Settings {
    let mut settings = crate::harness::settings();
    for (from, to) in [
        (r"(127\.0\.0\.1|0\.0\.0\.0):\d{2,}", "$1:[PORT]"),
        (r"sha256:[0-9a-f]{64}", "[DIGEST]"),
        (r"sha256-[0-9a-f]{64}", "[DIGEST]"),
        (r"[0-9a-f]{4}(-[0-9a-f]{4}){3}", "[KEY]"),
        (r"\d+(\.\d+)? [kM]?B\b", "[SIZE]"),
        (r"\d+ bytes", "[SIZE]"),
    ] {
        settings.add_filter(from, to);
    }
    settings
}

/// Compares with a snapshot.
macro_rules! snapshot {
    ($text:expr) => {
        $crate::registry::settings().bind(|| insta::assert_snapshot!($text))
    };
    ($name:literal, $text:expr) => {
        $crate::registry::settings().bind(|| insta::assert_snapshot!($name, $text))
    };
}
use snapshot;
