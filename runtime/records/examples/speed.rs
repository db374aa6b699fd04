//! What an event and a line of `tasks.jsonl` cost, in nanoseconds, CPU time of the thread, the
//! fastest of some rounds.
//!
//! `cargo run --release -p taps-records --example speed [DIRECTORY]`; the directory's file
//! system matters.
#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::{error::Error, hint::black_box, path::PathBuf, sync::Arc};
use taps_engine::{AttemptId, AttemptReport, Instantiation, Output, TaskId, Timeline, WorkerId};
use taps_payload::{Location, Transfer, Way};
use taps_records::{
    EventLog, Level, LogEvent, LogReader, Logger, SubmitOptions, write_tasks_jsonl,
};

const TASKS: u64 = 200_000;
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = root.join(format!("taps-records-speed-{}", std::process::id()));
    std::fs::create_dir(&directory)?;
    let result = measure(&directory);
    std::fs::remove_dir_all(&directory)?;
    result
}

/// CPU time of this thread: on a shared machine, wall time measures the neighbours.
fn cpu_ns() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn measure(directory: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let log_path = directory.join("events.log");
    let [mut append, mut read, mut view, mut line] = [f64::MAX; 4];
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let _ = std::fs::remove_file(&log_path);
        let mut log = EventLog::create(&log_path)?;
        log.append(&LogEvent::RunStarted(Box::default()))?;
        let start = cpu_ns();
        for task in 0..TASKS {
            for event in events(task) {
                log.append(black_box(&event))?;
            }
        }
        append = append.min((cpu_ns() - start) / (3 * TASKS) as f64);
        bytes = log.len_bytes();
        log.close()?;

        let start = cpu_ns();
        for event in LogReader::open(&log_path)? {
            black_box(event?);
        }
        read = read.min((cpu_ns() - start) / (3 * TASKS) as f64);

        let start = cpu_ns();
        let summary = write_tasks_jsonl(&log_path, &directory.join("tasks.jsonl"))?;
        view = view.min((cpu_ns() - start) / TASKS as f64);
        assert_eq!(summary.tasks, TASKS);

        let text = directory.join("log.txt");
        let _ = std::fs::remove_file(&text);
        let logger = Logger::new(None);
        logger.attach_file(&text, Level::TRACE)?;
        let start = cpu_ns();
        for task in 0..TASKS {
            logger.log(
                Level::TRACE,
                "engine",
                format_args!("Submitted task (id={task})"),
            );
        }
        line = line.min((cpu_ns() - start) / TASKS as f64);
    }
    let large = large_inline(directory)?;
    // Making the events is part of the loop: its cost, to be taken off.
    let start = cpu_ns();
    for task in 0..TASKS {
        black_box(events(task));
    }
    let making = (cpu_ns() - start) / (3 * TASKS) as f64;
    println!("append an event      {append:6.0} ns, {making:.0} ns of it to make the event");
    println!("append 64 kB inline  {large:6.0} ns");
    println!(
        "bytes an event       {:6.0}",
        bytes as f64 / (3 * TASKS) as f64
    );
    println!("read an event        {read:6.0} ns");
    println!("line of tasks.jsonl  {view:6.0} ns, its three events read");
    println!("line of log.txt      {line:6.0} ns");
    Ok(())
}

/// An event with a result of 64 kB in it.
fn large_inline(directory: &std::path::Path) -> Result<f64, Box<dyn Error>> {
    let mut log = EventLog::create(&directory.join("large.log"))?;
    let [_, _, mut event] = events(0);
    if let LogEvent::AttemptFinished { report, .. } = &mut event {
        report.result = Ok(vec![Output {
            location: Location::Inline(vec![7; 64_000].into()),
        }]);
    }
    let start = cpu_ns();
    for _ in 0..1_000 {
        log.append(black_box(&event))?;
    }
    Ok((cpu_ns() - start) / 1_000.0)
}

/// What the log holds of a task that succeeds.
fn events(task: u64) -> [LogEvent; 3] {
    let time_ns = 1_000_000_000 + task * 5_000;
    let id = AttemptId {
        task: TaskId(task),
        number: 0,
    };
    let transfer = Transfer {
        bytes: 8,
        bytes_moved: 8,
        way: Way::Inline,
        copies: 1,
    };
    let report = AttemptReport {
        id,
        worker: WorkerId(0),
        result: Ok(vec![Output {
            location: Location::Inline(Arc::from(&b"12345678"[..])),
        }]),
        timeline: Timeline {
            received: time_ns + 1_000,
            task_start: time_ns + 2_000,
            task_end: time_ns + 3_000,
            finished: time_ns + 4_000,
            ..Timeline::default()
        },
        inputs: vec![transfer],
        outputs: vec![transfer],
        digests: Vec::new(),
        lost_inputs: Vec::new(),
        instantiation: Instantiation::Fresh,
        cpu_ns: 2_900,
        peak_memory_bytes: 1 << 20,
        injected: None,
        executions: 1,
        programs: Vec::new(),
        notes: Vec::new(),
    };
    [
        LogEvent::Submitted {
            task: TaskId(task),
            name: "noop".into(),
            parents: vec![TaskId(task / 2)],
            label: None,
            arguments_hash: task.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            options: SubmitOptions::default(),
            phase: 0,
            time_ns,
        },
        LogEvent::AttemptStarted {
            id,
            worker: Some(WorkerId(0)),
            generation: 0,
            fault: None,
            time_ns: time_ns + 100,
        },
        LogEvent::AttemptFinished {
            report: Box::new(report),
            received_ns: time_ns + 5_000,
            retried: false,
        },
    ]
}
