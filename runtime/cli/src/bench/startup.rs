//! `bench startup`: a whole process that runs one task, from exec to exit, and where its time goes.
//!
//! ```text
//! exec      run begins   loaded       submitted  known        exit
//! │ configure │ load       │ start      │ task     │ end        │
//! │ arguments │ components │ records,   │ sandbox, │ views,     │
//! │ fields    │ from cache │ executor,  │ call,    │ executor   │
//! │ the app   │ or compiled│ driver     │ report   │ ends       │
//! ```

use super::{
    chart::{Axis, Chart},
    flags::{Common, word},
    frame::{Cell, Found, Measured, measure},
    table::{Figure, Row, Shape},
    trial::{Runner, unread},
};
use crate::exit::{ExitCode, Failure, causes};
use clap::ValueEnum;
use serde::Serialize;
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Figures but for the whole: what follows upon each other, and sums to it.
const LAYERS: [&str; 5] = ["configure_ms", "load_ms", "start_ms", "task_ms", "end_ms"];

const SHAPE: Shape = Shape {
    keys: &["executor", "slots", "cache"],
    figures: &[
        Figure::new("whole_ms", "whole ms"),
        Figure::new("configure_ms", "configure"),
        Figure::new("load_ms", "load"),
        Figure::new("start_ms", "start"),
        Figure::new("task_ms", "task"),
        Figure::new("end_ms", "end"),
    ],
};

/// Flags of `bench startup`.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct StartupArgs {
    /// States of the cache of compiled code.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "cold,warm")]
    caches: Vec<Cache>,
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
}

/// A state of the cache of compiled code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Cache {
    /// Empty: the app is compiled.
    Cold,
    /// With the app in it.
    Warm,
}

/// The process that is started.
struct Start {
    args: Vec<OsString>,
    cache: Cache,
    /// Where compiled code is kept.
    cache_dir: PathBuf,
    run_dir: PathBuf,
}

pub(super) fn run(args: &StartupArgs) -> Result<ExitCode, Failure> {
    let common = &args.common;
    let runner = Runner::new(common)?;
    let mut cells = Vec::new();
    for (executor, workers) in common.places(&[2]) {
        let flags = ["--app.structure=sequential", "--app.task-count=1"].map(str::to_owned);
        // The child checks it, too; here it is refused before anything runs.
        runner.check("synthetic", executor, workers, &flags)?;
        for cache in &args.caches {
            let start = Start::new(&runner, executor, workers, *cache, &flags)?;
            let keys = vec![executor.into(), workers.into(), word(cache).into()];
            cells.push(Cell::new(keys, move |_| start.once()));
        }
    }
    let found = Found {
        bench: "startup",
        args,
        shape: SHAPE,
        rows: measure(&runner, common, SHAPE, cells),
    };
    found.show(&runner, common, chart)
}

impl Start {
    fn new(
        runner: &Runner,
        executor: &str,
        workers: u32,
        cache: Cache,
        flags: &[String],
    ) -> Result<Self, Failure> {
        let run_dir = runner.directory().join("run");
        let mut args: Vec<OsString> = vec!["run".into(), "synthetic".into()];
        args.extend(flags.iter().map(OsString::from));
        args.extend(runner.executor_flags(executor, workers)?);
        args.extend(["--quiet", "--json", "--run-dir"].map(OsString::from));
        args.push(run_dir.clone().into());
        Ok(Self {
            args,
            cache,
            cache_dir: runner.directory().join(word(&cache)),
            run_dir,
        })
    }

    /// Starts the process, waits for its end, and reads what it left.
    fn once(&self) -> Result<Measured, Failure> {
        let _ = fs::remove_dir_all(&self.run_dir);
        if self.cache == Cache::Cold {
            let _ = fs::remove_dir_all(&self.cache_dir);
        } else if !self.cache_dir.exists() {
            // Nothing is in it yet: this start fills it.
            self.process()?;
            let _ = fs::remove_dir_all(&self.run_dir);
        }
        let times = self.process()?;
        times.measured(&self.run_dir)
    }

    fn process(&self) -> Result<Times, Failure> {
        let program = std::env::current_exe().map_err(unread)?;
        let mut command = Command::new(program);
        command
            .args(&self.args)
            .env("XDG_CACHE_HOME", &self.cache_dir)
            .stdin(Stdio::null());
        let begin_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64();
        let clock = Instant::now();
        let output = command
            .output()
            .map_err(|error| Failure::new(ExitCode::Runtime, error))?;
        let whole_s = clock.elapsed().as_secs_f64();
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if !output.status.success() {
            let told = summary["error"].as_str().map(str::to_owned);
            let said = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let error = told.unwrap_or_else(said);
            return Err(Failure::new(ExitCode::Runtime, error));
        }
        let loaded_s = summary["loaded_s"].as_f64();
        Ok(Times {
            begin_s,
            whole_s,
            loaded_s: loaded_s.ok_or_else(|| unread("the summary has no `loaded_s`"))?,
        })
    }
}

/// What was seen of a process from outside, and what it says of itself.
#[expect(clippy::struct_field_names, reason = "units end names")]
struct Times {
    /// When it was started, in seconds since 1970.
    begin_s: f64,
    whole_s: f64,
    /// From the beginning of its run to when its components were loaded.
    loaded_s: f64,
}

impl Times {
    fn measured(&self, run_dir: &Path) -> Result<Measured, Failure> {
        let model =
            taps_report::read(run_dir).map_err(|error| unread(causes(&error).join(": ")))?;
        let attempts = &model.attempts;
        let (Some(run), Some(submitted_s), Some(known_s)) = (
            &model.run,
            attempts.submitted.first(),
            attempts.known.first(),
        ) else {
            return Err(unread("the records have no task"));
        };
        let configured_s = run.start_unix_s - self.begin_s;
        let layers = [
            configured_s,
            self.loaded_s,
            submitted_s - self.loaded_s,
            known_s - submitted_s,
            self.whole_s - configured_s - known_s,
        ];
        let mut measured = Measured::of([("whole_ms", 1e3 * self.whole_s)]);
        let layers = layers.map(|seconds| 1e3 * seconds);
        measured.numbers.extend(LAYERS.into_iter().zip(layers));
        Ok(measured)
    }
}

/// The layers of each row.
fn chart(rows: &[Row]) -> Chart {
    let measured: Vec<&Row> = rows
        .iter()
        .filter(|row| row.mean("whole_ms").is_some())
        .collect();
    let series = LAYERS.map(|layer| {
        let bars = measured.iter().map(|row| row.mean(layer)).collect();
        (layer.trim_end_matches("_ms").to_owned(), bars)
    });
    Chart::Bars {
        caption: "From exec to exit, one task".to_owned(),
        y: Axis::logarithmic("milliseconds"),
        groups: measured.iter().map(|row| row.label()).collect(),
        series: series.into(),
    }
}
