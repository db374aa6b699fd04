//! `bench data`: what it costs to pass payloads from task to task.

use super::plot;
use crate::{
    apps, execute,
    execute::life::Life,
    exit::{ExitCode, Failure},
    progress::Progress,
    render,
};
use clap::ValueEnum;
use serde::Serialize;
use std::{
    ffi::OsString,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use taps_config::{Schema, parse_size, resolve};
use taps_coordinator::RunHandle;

/// Payloads above this size do not travel inline: apps build them in shared memory.
const MOST_INLINE: u64 = 999_999;

/// Round trips that are not counted: the first sandbox, the first memory.
const WARM_UP: usize = 2;

/// Flags of `bench data`.
#[derive(Debug, clap::Args)]
pub(crate) struct DataArgs {
    /// Sizes of payloads.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "10kB,100kB,1MB,10MB,100MB"
    )]
    sizes: Vec<String>,
    /// Ways for payloads to travel; `redis` and `object-store` need their flags.
    #[arg(long, value_enum, value_delimiter = ',')]
    ways: Vec<Way>,
    /// Executors to measure.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "thread-pool,process-pool"
    )]
    executors: Vec<String>,
    /// Worker slots.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: u32,
    /// How often each cell is measured; the best counts, because noise only adds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Directory for the files of the way `file`; a temporary one unless given.
    #[arg(long)]
    file_dir: Option<PathBuf>,
    /// Redis server for the way `redis`, for example `redis://127.0.0.1`.
    #[arg(long)]
    redis: Option<String>,
    /// Store for the way `object-store`, for example `s3://bucket/prefix` or `file:///scratch`.
    #[arg(long)]
    object_store: Option<String>,
    /// Write the figures as CSV.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write a plot of the round trips, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A way for payloads to travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Way {
    /// With the call; below 1 MB.
    Inline,
    /// Through shared memory, copied into and out of the sandbox.
    Copied,
    /// Mapped from shared memory.
    Mapped,
    /// Through files.
    File,
    /// Through a Redis server.
    Redis,
    /// Through an object store.
    ObjectStore,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cell {
    pub(super) executor: String,
    pub(super) way: Way,
    pub(super) bytes: u64,
    /// Median time from one result of the chain to the next, in microseconds.
    pub(super) round_trip_us: Option<f64>,
    /// Its 90th percentile.
    round_trip_p90_us: Option<f64>,
    /// Bytes taken and given by independent tasks, in millions per second.
    megabytes_per_s: Option<f64>,
    /// Copies that the records count, per task.
    copies: Option<f64>,
    /// Why there are no figures.
    note: Option<String>,
}

pub(super) fn run(args: &DataArgs) -> Result<ExitCode, Failure> {
    let usage = |text: String| Failure::new(ExitCode::Usage, text);
    let mut sizes = Vec::new();
    for text in &args.sizes {
        let size = parse_size(text).filter(|size| (1..=2_147_483_647).contains(size));
        sizes.push(size.ok_or_else(|| {
            usage(format!(
                "--sizes: expected sizes from 1B to 2GB, got `{text}`"
            ))
        })?);
    }
    let directory = tempfile::tempdir().map_err(|error| Failure::new(ExitCode::Records, error))?;
    let bench = Bench {
        args,
        schema: apps::schema()?,
        app: execute::Admitted::built_in(apps::find("synthetic")?),
        directory: directory.path(),
    };
    let known = |name: &String| {
        bench
            .schema
            .executors
            .iter()
            .any(|known| known.name == *name)
    };
    if let Some(unknown) = args.executors.iter().find(|name| !known(name)) {
        let names: Vec<_> = bench
            .schema
            .executors
            .iter()
            .map(|e| e.name.as_str())
            .collect();
        let names = names.join(", ");
        return Err(usage(format!(
            "--executors: no executor `{unknown}`; there are {names}"
        )));
    }
    let ways = bench.ways()?;
    let mut cells = Vec::new();
    for executor in &args.executors {
        for way in &ways {
            for size in &sizes {
                let cell = bench.cell(executor, *way, *size);
                if !args.json {
                    render::note(&line(&cell));
                }
                cells.push(cell);
            }
        }
    }
    let written = |error: std::io::Error| Failure::new(ExitCode::Records, error);
    if let Some(path) = &args.csv {
        fs::write(path, csv(&cells)).map_err(written)?;
    }
    if let Some(path) = &args.plot {
        plot::write(path, &cells).map_err(|error| Failure::new(ExitCode::Records, error))?;
    }
    if args.json {
        render::json(&cells)?;
    } else {
        render::data(&table(&cells))?;
    }
    Ok(ExitCode::Ok)
}

struct Bench<'a> {
    args: &'a DataArgs,
    schema: Schema,
    app: execute::Admitted,
    directory: &'a Path,
}

impl Bench<'_> {
    /// The ways asked for, or all that need no server and those whose server is named.
    fn ways(&self) -> Result<Vec<Way>, Failure> {
        let served = |way: Way| match way {
            Way::Redis => self.args.redis.is_some(),
            Way::ObjectStore => self.args.object_store.is_some(),
            _ => true,
        };
        if self.args.ways.is_empty() {
            let all = Way::value_variants().iter().copied();
            return Ok(all.filter(|way| served(*way)).collect());
        }
        if let Some(way) = self.args.ways.iter().find(|way| !served(**way)) {
            let name = name(*way);
            let error = format!("--ways: `{name}` needs the flag --{name} with its address");
            return Err(Failure::new(ExitCode::Usage, error));
        }
        Ok(self.args.ways.clone())
    }

    fn cell(&self, executor: &str, way: Way, bytes: u64) -> Cell {
        let mut cell = Cell {
            executor: executor.to_owned(),
            way,
            bytes,
            round_trip_us: None,
            round_trip_p90_us: None,
            megabytes_per_s: None,
            copies: None,
            note: None,
        };
        if way == Way::Inline && bytes > MOST_INLINE {
            cell.note =
                Some("not inline: from 1 MB on apps build payloads in shared memory".to_owned());
            return cell;
        }
        for _ in 0..self.args.repeat {
            if let Err(failure) = self.measure(&mut cell) {
                cell.note = Some(failure.message());
                break;
            }
        }
        cell
    }

    /// Measures a cell once, and keeps what is better than before.
    fn measure(&self, cell: &mut Cell) -> Result<(), Failure> {
        let chain = self.run_app(cell, "sequential", tasks_for(cell.bytes))?;
        let mut trips = chain.trips;
        trips.sort_by(f64::total_cmp);
        let at = |part: f64| trips.get((trips.len() as f64 * part) as usize).copied();
        if better(at(0.5), cell.round_trip_us, f64::lt) {
            (cell.round_trip_us, cell.round_trip_p90_us) = (at(0.5), at(0.9));
        }
        cell.copies = Some(chain.copies);
        let bag = self.run_app(cell, "bag", 2 * tasks_for(cell.bytes))?;
        if better(Some(bag.megabytes_per_s), cell.megabytes_per_s, f64::gt) {
            cell.megabytes_per_s = Some(bag.megabytes_per_s);
        }
        Ok(())
    }

    fn run_app(&self, cell: &Cell, structure: &str, count: u64) -> Result<Ran, Failure> {
        let run_dir = self.directory.join("run");
        let workers = self.args.workers;
        let slots = match cell.executor.as_str() {
            "process-pool" => "max-processes",
            _ => "max-threads",
        };
        let mut args = vec![
            "synthetic".to_owned(),
            format!("--app.structure={structure}"),
            format!("--app.task-count={count}"),
            format!("--app.task-data-bytes={}", cell.bytes),
            "--app.content=plain".to_owned(),
            "--app.verify=false".to_owned(),
            "--app.read-inputs=true".to_owned(),
            format!("--app.bag-max-running={}", 2 * workers),
            format!("--executor={}", cell.executor),
            format!("--executor.{slots}={workers}"),
            format!("--run-dir={}", run_dir.display()),
            "--quiet".to_owned(),
        ];
        args.extend(self.flags(cell));
        let args: Vec<OsString> = args.into_iter().map(OsString::from).collect();
        let resolved = resolve(&args, &self.schema, self.directory)
            .map_err(|errors| Failure::new(ExitCode::Usage, errors))?;
        let progress = Arc::new(Progress::new(false));
        let handle = RunHandle::default();
        let finished = execute::once(
            &resolved,
            &self.app,
            &handle,
            &progress,
            Instant::now(),
            &Life::First,
        );
        let ran = match finished.failure {
            Some(failure) => Err(failure),
            None => Ran::read(&run_dir, cell.bytes),
        };
        // The next run makes it anew; what is left at the end goes with the directory above.
        let _ = fs::remove_dir_all(&run_dir);
        ran
    }

    /// Makes payloads travel in the way of the cell.
    fn flags(&self, cell: &Cell) -> Vec<String> {
        let never_inline = "--engine.payload.inline-max-bytes=0".to_owned();
        let stored = |name: &str, place: String| {
            let transformer = format!("--transformer={name}");
            vec![
                transformer,
                place,
                "--filter=object-size".to_owned(),
                "--filter.min-size=1000".to_owned(),
            ]
        };
        match cell.way {
            Way::Inline => vec![
                format!("--engine.payload.inline-max-bytes={MOST_INLINE}"),
                format!("--engine.payload.map-min-bytes={}", i64::MAX),
            ],
            Way::Copied => vec![
                never_inline,
                format!("--engine.payload.map-min-bytes={}", i64::MAX),
            ],
            Way::Mapped => vec![never_inline, "--engine.payload.map-min-bytes=1".to_owned()],
            Way::File => {
                let own = self.directory.join("payloads");
                let place = self.args.file_dir.as_ref().unwrap_or(&own).display();
                stored("file", format!("--transformer.file-dir={place}"))
            }
            Way::Redis => {
                let url = self.args.redis.clone().unwrap_or_default();
                stored("redis", format!("--transformer.url={url}"))
            }
            Way::ObjectStore => {
                let url = self.args.object_store.clone().unwrap_or_default();
                stored("object-store", format!("--transformer.url={url}"))
            }
        }
    }
}

/// What the records of a run say.
struct Ran {
    /// Times from one result to the next, in microseconds.
    trips: Vec<f64>,
    megabytes_per_s: f64,
    /// Copies of payloads per task.
    copies: f64,
}

impl Ran {
    fn read(run_dir: &Path, bytes: u64) -> Result<Self, Failure> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            Failure::new(ExitCode::Records, error)
        };
        let text = fs::read_to_string(run_dir.join("tasks.jsonl")).map_err(|e| failed(e.into()))?;
        let mut ends = Vec::new();
        let mut first = u64::MAX;
        let mut copies = 0;
        for line in text.lines() {
            let task: serde_json::Value =
                serde_json::from_str(line).map_err(|e| failed(e.into()))?;
            ends.extend(task["monotonic_received_ns"].as_u64());
            first = first.min(task["monotonic_submit_ns"].as_u64().unwrap_or(u64::MAX));
            let transfers = [&task["inputs"], &task["outputs"]].into_iter();
            let transfers = transfers.filter_map(|list| list.as_array()).flatten();
            copies += transfers
                .filter(|transfer| transfer["bytes"].as_u64() >= Some(bytes))
                .filter_map(|transfer| transfer["copies"].as_u64())
                .sum::<u64>();
        }
        ends.sort_unstable();
        let between = |pair: &[u64]| (pair[1] - pair[0]) as f64 / 1e3;
        let last = ends.last().copied().unwrap_or_default();
        let seconds = last.saturating_sub(first) as f64 / 1e9;
        let moved = 2.0 * bytes as f64 * ends.len() as f64 / 1e6;
        Ok(Self {
            trips: ends.windows(2).skip(WARM_UP).map(between).collect(),
            megabytes_per_s: if seconds > 0.0 { moved / seconds } else { 0.0 },
            copies: copies as f64 / ends.len().max(1) as f64,
        })
    }
}

fn better(new: Option<f64>, old: Option<f64>, is: fn(&f64, &f64) -> bool) -> bool {
    match (new, old) {
        (Some(new), Some(old)) => is(&new, &old),
        (new, old) => old.is_none() && new.is_some(),
    }
}

/// Tasks of a chain: enough for a median, few enough that large payloads take seconds.
fn tasks_for(bytes: u64) -> u64 {
    (400_000_000 / bytes.max(1)).clamp(8, 200)
}

fn name(way: Way) -> String {
    way.to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

fn size(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
}

fn figure(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}

/// One line while it is measured.
fn line(cell: &Cell) -> String {
    let Cell { executor, way, .. } = cell;
    let note = cell.note.as_deref().unwrap_or_default();
    let trip = figure(cell.round_trip_us);
    format!(
        "{executor} {} {}: {trip} us {note}",
        name(*way),
        size(cell.bytes)
    )
}

fn table(cells: &[Cell]) -> String {
    let mut text = format!(
        "{:<13} {:<13} {:>10} {:>14} {:>12} {:>10} {:>7}\n",
        "executor", "way", "size", "round trip us", "90 % us", "MB/s", "copies"
    );
    for cell in cells {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:<13} {:<13} {:>10} {:>14} {:>12} {:>10} {:>7}{}",
            cell.executor,
            name(cell.way),
            size(cell.bytes),
            figure(cell.round_trip_us),
            figure(cell.round_trip_p90_us),
            figure(cell.megabytes_per_s),
            figure(cell.copies),
            cell.note
                .as_ref()
                .map(|note| format!("  {note}"))
                .unwrap_or_default()
        );
    }
    text
}

fn csv(cells: &[Cell]) -> String {
    let mut text =
        "executor,way,bytes,round_trip_us,round_trip_p90_us,megabytes_per_s,copies\n".to_owned();
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    for cell in cells {
        let figures = [
            cell.round_trip_us,
            cell.round_trip_p90_us,
            cell.megabytes_per_s,
            cell.copies,
        ];
        let figures = figures.map(number).join(",");
        let _ = writeln!(
            text,
            "{},{},{},{figures}",
            cell.executor,
            name(cell.way),
            cell.bytes
        );
    }
    text
}
