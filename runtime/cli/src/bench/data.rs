//! `bench data`: what it costs to pass payloads from task to task.

use super::{
    chart::{Axis, Chart},
    flags::{Common, refused, twice, word},
    frame::{Cell, Found, Measured, measure},
    lines,
    statistics::quantile,
    table::{Figure, Shape},
    trial::{Ran, Runner, Trial, makespan_s},
};
use crate::exit::{ExitCode, Failure};
use clap::ValueEnum;
use serde::Serialize;
use std::path::PathBuf;
use taps_config::parse_size;

/// Payloads above this size do not travel inline: apps build them in shared memory.
const MOST_INLINE: u64 = 999_999;

/// Round trips that are not counted: the first sandbox, the first memory.
const WARM_UP: usize = 2;

const SHAPE: Shape = Shape {
    keys: &["executor", "slots", "way", "bytes"],
    figures: &[
        // Median time from one result of the chain to the next.
        Figure::new("round_trip_us", "round trip us"),
        Figure::new("round_trip_p90_us", "90 % us"),
        // Bytes taken and given by independent tasks.
        Figure::new("megabytes_per_s", "MB/s"),
        // Copies that the records count, per task.
        Figure::new("copies", "copies"),
    ],
};

/// Flags of `bench data`.
#[derive(Debug, clap::Args, Serialize)]
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
    /// Directory for the files of the way `file`; a temporary one unless given.
    #[arg(long)]
    file_dir: Option<PathBuf>,
    /// Redis server for the way `redis`, for example `redis://127.0.0.1`.
    #[arg(long)]
    #[serde(skip)]
    redis: Option<String>,
    /// Store for the way `object-store`, for example `s3://bucket/prefix` or `file:///scratch`.
    #[arg(long)]
    #[serde(skip)]
    object_store: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
}

/// A way for payloads to travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Way {
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

/// The two runs of a cell.
struct Pair {
    chain: Trial,
    bag: Trial,
    bytes: u64,
}

pub(super) fn run(args: &DataArgs) -> Result<ExitCode, Failure> {
    let sizes = args.sizes()?;
    let ways = args.ways()?;
    let common = &args.common;
    let runner = Runner::new(common)?;
    let mut cells = Vec::new();
    for (executor, workers) in common.places(&[2]) {
        for way in &ways {
            for bytes in &sizes {
                cells.push(args.cell(&runner, executor, workers, *way, *bytes)?);
            }
        }
    }
    let found = Found {
        bench: "data",
        args,
        shape: SHAPE,
        rows: measure(&runner, common, SHAPE, cells),
    };
    found.show(&runner, common, |rows| Chart::Lines {
        caption: "Round trip of a payload, every byte read and written".to_owned(),
        x: Axis::logarithmic("bytes"),
        y: Axis::logarithmic("microseconds"),
        lines: lines(
            rows,
            &["executor", "slots", "way"],
            "bytes",
            "round_trip_us",
        ),
    })
}

impl DataArgs {
    fn sizes(&self) -> Result<Vec<u64>, Failure> {
        let mut sizes = Vec::new();
        for text in &self.sizes {
            let size = parse_size(text).filter(|size| (1..=2_147_483_647).contains(size));
            sizes.push(size.ok_or_else(|| refused("--sizes", text, "sizes from 1B to 2GB"))?);
        }
        twice("--sizes", &sizes)?;
        Ok(sizes)
    }

    /// The ways asked for, or all that need no server and those whose server is named.
    fn ways(&self) -> Result<Vec<Way>, Failure> {
        let served = |way: Way| match way {
            Way::Redis => self.redis.is_some(),
            Way::ObjectStore => self.object_store.is_some(),
            _ => true,
        };
        if self.ways.is_empty() {
            let all = Way::value_variants().iter().copied();
            return Ok(all.filter(|way| served(*way)).collect());
        }
        if let Some(way) = self.ways.iter().find(|way| !served(**way)) {
            let name = word(way);
            let error = format!("--ways: `{name}` needs the flag --{name} with its address");
            return Err(Failure::new(ExitCode::Usage, error));
        }
        twice("--ways", &self.ways.iter().map(word).collect::<Vec<_>>())?;
        Ok(self.ways.clone())
    }

    fn cell(
        &self,
        runner: &Runner,
        executor: &str,
        workers: u32,
        way: Way,
        bytes: u64,
    ) -> Result<Cell<'static>, Failure> {
        let keys = vec![
            executor.into(),
            workers.into(),
            word(&way).into(),
            bytes.into(),
        ];
        if way == Way::Inline && bytes > MOST_INLINE {
            let note = "not inline: from 1 MB on apps build payloads in shared memory";
            return Ok(Cell::impossible(keys, note));
        }
        let trial = |structure: &str, count: u64| {
            let mut flags = vec![
                format!("--app.structure={structure}"),
                format!("--app.task-count={count}"),
                format!("--app.task-data-bytes={bytes}"),
                "--app.content=plain".to_owned(),
                "--app.verify=false".to_owned(),
                "--app.read-inputs=true".to_owned(),
                format!("--app.bag-max-running={}", 2 * workers),
            ];
            flags.extend(self.flags(runner, way));
            runner.check("synthetic", executor, workers, &flags)
        };
        let pair = Pair {
            chain: trial("sequential", tasks_for(bytes))?,
            bag: trial("bag", 2 * tasks_for(bytes))?,
            bytes,
        };
        Ok(Cell::new(keys, move |runner| pair.measure(runner)))
    }

    /// Makes payloads travel in the way of the cell.
    fn flags(&self, runner: &Runner, way: Way) -> Vec<String> {
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
        match way {
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
                let own = runner.directory().join("payloads");
                let place = self.file_dir.as_ref().unwrap_or(&own).display();
                stored("file", format!("--transformer.file-dir={place}"))
            }
            Way::Redis => {
                let url = self.redis.clone().unwrap_or_default();
                stored("redis", format!("--transformer.url={url}"))
            }
            Way::ObjectStore => {
                let url = self.object_store.clone().unwrap_or_default();
                stored("object-store", format!("--transformer.url={url}"))
            }
        }
    }
}

impl Pair {
    fn measure(&self, runner: &Runner) -> Result<Measured, Failure> {
        let (trips, copies) = chain(&runner.run(&self.chain)?, self.bytes)?;
        let bag = runner.run(&self.bag)?.tasks(None)?;
        let seconds = makespan_s(&bag);
        let moved = 2.0 * self.bytes as f64 * bag.len() as f64 / 1e6;
        Ok(Measured::of([
            ("round_trip_us", quantile(&trips, 0.5)),
            ("round_trip_p90_us", quantile(&trips, 0.9)),
            (
                "megabytes_per_s",
                if seconds > 0.0 { moved / seconds } else { 0.0 },
            ),
            ("copies", copies),
        ]))
    }
}

/// Times from one result to the next in microseconds, sorted, and copies of payloads per task.
fn chain(ran: &Ran, bytes: u64) -> Result<(Vec<f64>, f64), Failure> {
    let tasks = ran.tasks(None)?;
    let mut ends: Vec<u64> = tasks
        .iter()
        .filter_map(|task| task.monotonic_received_ns)
        .collect();
    ends.sort_unstable();
    let between = |pair: &[u64]| (pair[1] - pair[0]) as f64 / 1e3;
    let mut trips: Vec<f64> = ends.windows(2).skip(WARM_UP).map(between).collect();
    trips.sort_by(f64::total_cmp);
    let transfers = tasks
        .iter()
        .flat_map(|task| task.inputs.iter().chain(&task.outputs));
    let large = transfers.filter(|transfer| transfer.bytes >= bytes);
    let copies: u64 = large.map(|transfer| transfer.copies).sum();
    Ok((trips, copies as f64 / tasks.len().max(1) as f64))
}

/// Tasks of a chain: enough for a median, few enough that large payloads take seconds.
fn tasks_for(bytes: u64) -> u64 {
    (400_000_000 / bytes.max(1)).clamp(8, 200)
}
