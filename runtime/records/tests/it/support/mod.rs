//! Events for tests, those of reports and exports among them.
#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod view;

use proptest::{collection::vec, option, prelude::*};
use std::{
    io,
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    sync::Arc,
};
use taps_engine::{
    AttemptId, AttemptReport, Failure, FaultAction, FaultPlan, FaultPoint, Instantiation,
    OutcomeKind, Output, OutputId, TaskId, Timeline, TrapKind, WorkerId, WorkerInfo,
};
use taps_payload::{FileRef, Fingerprint, Location, SegmentId, SegmentRef, Transfer, Way};
use taps_records::{
    Completion, Delivery, EventLog, GuestLevel, LogEvent, LogReader, RunStarted, Source, Stream,
    SubmitOptions, TaskCounts, TaskStatus,
};

/// Writes a log of these events, and reads the file.
pub(crate) fn written(events: &[LogEvent]) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("events.log");
    write_log(&path, events);
    std::fs::read(&path).expect("read the log")
}

pub(crate) fn write_log(path: &Path, events: &[LogEvent]) {
    let mut log = EventLog::create(path).expect("create");
    for event in events {
        log.append(event).expect("append");
    }
    log.close().expect("close");
}

/// Reads all events that a log yields, and where it is damaged.
pub(crate) fn read<R: io::Read>(mut reader: LogReader<R>) -> (Vec<LogEvent>, Option<u64>) {
    let events = reader
        .by_ref()
        .map(|event| event.expect("no I/O error"))
        .collect();
    (events, reader.truncated_at())
}

pub(crate) fn started(start_unix_ns: u64) -> LogEvent {
    LogEvent::RunStarted(Box::new(RunStarted {
        format: taps_records::FORMAT_VERSION,
        app: "cholesky".into(),
        executor: "thread-pool".into(),
        slots: 2,
        start_unix_ns,
        host: "head".into(),
        ..RunStarted::default()
    }))
}

pub(crate) fn joined(id: u32, host: &str) -> LogEvent {
    LogEvent::WorkerJoined(WorkerInfo {
        id: WorkerId(id),
        host: host.into(),
        cores: 1,
        memory_bytes: 1 << 30,
        resources: Vec::new(),
        look_ahead: 0,
    })
}

pub(crate) fn submitted(task: u64, name: &str, parents: &[u64], time_ns: u64) -> LogEvent {
    LogEvent::Submitted {
        task: TaskId(task),
        name: name.into(),
        parents: parents.iter().map(|parent| TaskId(*parent)).collect(),
        label: None,
        arguments_hash: task.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        options: SubmitOptions::default(),
        phase: 0,
        time_ns,
    }
}

pub(crate) fn attempt(task: u64, number: u32) -> AttemptId {
    AttemptId {
        task: TaskId(task),
        number,
    }
}

pub(crate) fn attempt_started(task: u64, number: u32, generation: u32, time_ns: u64) -> LogEvent {
    LogEvent::AttemptStarted {
        id: attempt(task, number),
        worker: Some(WorkerId(0)),
        generation,
        fault: None,
        time_ns,
    }
}

/// A report of success on worker 0, with times a microsecond apart.
pub(crate) fn report(task: u64, number: u32, received: u64) -> AttemptReport {
    AttemptReport {
        id: attempt(task, number),
        worker: WorkerId(0),
        result: Ok(vec![Output {
            location: Location::Inline(Arc::from(&b"12345678"[..])),
        }]),
        timeline: Timeline {
            received,
            task_start: received + 1_000,
            task_end: received + 2_000,
            finished: received + 3_000,
            ..Timeline::default()
        },
        inputs: vec![Transfer {
            bytes: 8,
            bytes_moved: 8,
            way: Way::Inline,
            copies: 1,
        }],
        outputs: vec![Transfer {
            bytes: 8,
            bytes_moved: 8,
            way: Way::Inline,
            copies: 1,
        }],
        digests: Vec::new(),
        lost_inputs: Vec::new(),
        instantiation: Instantiation::Fresh,
        cpu_ns: 2_900,
        peak_memory_bytes: 1 << 20,
        injected: None,
        executions: 1,
        programs: Vec::new(),
        notes: Vec::new(),
    }
}

pub(crate) fn finished(report: AttemptReport, received_ns: u64, retried: bool) -> LogEvent {
    LogEvent::AttemptFinished {
        report: Box::new(report),
        received_ns,
        retried,
    }
}

/// The three events of a task that succeeds.
pub(crate) fn whole_task(task: u64, time_ns: u64) -> [LogEvent; 3] {
    [
        submitted(task, "noop", &[], time_ns),
        attempt_started(task, 0, 0, time_ns + 100),
        finished(report(task, 0, time_ns + 200), time_ns + 5_000, false),
    ]
}

/// Any event.
pub(crate) fn any_event() -> impl Strategy<Value = LogEvent> {
    prop_oneof![
        (
            any::<(u32, u32, u64, u64)>(),
            any::<(String, String, String)>()
        )
            .prop_map(
                |((format, slots, seed, start_unix_ns), (app, host, config_toml))| {
                    LogEvent::RunStarted(Box::new(RunStarted {
                        format,
                        app,
                        slots,
                        seed,
                        start_unix_ns,
                        host,
                        config_toml,
                        ..RunStarted::default()
                    }))
                }
            ),
        any::<(u32, String, u32, u64, Vec<(String, u64)>, u32)>().prop_map(
            |(id, host, cores, memory_bytes, resources, look_ahead)| LogEvent::WorkerJoined(
                WorkerInfo {
                    id: WorkerId(id),
                    host,
                    cores,
                    memory_bytes,
                    resources,
                    look_ahead,
                }
            )
        ),
        any::<(u32, String, u64)>().prop_map(|(worker, reason, time_ns)| LogEvent::WorkerLost {
            worker: WorkerId(worker),
            reason,
            time_ns,
        }),
        any_submission(),
        (
            any::<(u64, u32, Option<u32>, u32, u64)>(),
            option::of(any_fault())
        )
            .prop_map(|((task, number, worker, generation, time_ns), fault)| {
                LogEvent::AttemptStarted {
                    id: attempt(task, number),
                    worker: worker.map(WorkerId),
                    generation,
                    fault,
                    time_ns,
                }
            }),
        any::<(u64, u64)>().prop_map(|(time_ns, unix_ns)| LogEvent::Resumed { time_ns, unix_ns }),
        any::<u64>().prop_map(|time_ns| LogEvent::Ending { time_ns }),
        any::<(u64, u32, u64)>().prop_map(|(task, number, time_ns)| LogEvent::ReportRepeated {
            id: attempt(task, number),
            time_ns,
        }),
        (vec(any::<(u64, u32)>(), 0..4), any::<u64>()).prop_map(|(outputs, time_ns)| {
            let outputs = outputs.into_iter().map(|(task, index)| OutputId {
                task: TaskId(task),
                index,
            });
            LogEvent::OutputsLost {
                outputs: outputs.collect(),
                time_ns,
            }
        }),
        (any::<u64>(), any_location(), any::<u64>()).prop_map(|(task, location, time_ns)| {
            LogEvent::Memoized {
                task: TaskId(task),
                outputs: vec![Output { location }],
                time_ns,
            }
        }),
        any::<(u64, u32, u64)>().prop_map(|(task, number, time_ns)| {
            LogEvent::AttemptReturned {
                id: attempt(task, number),
                time_ns,
            }
        }),
        (any_report(), any::<(u64, bool)>()).prop_map(|(report, (received_ns, retried))| finished(
            report,
            received_ns,
            retried
        )),
        (any::<u64>(), option::of(any_failure()), any::<u64>()).prop_map(
            |(task, failure, time_ns)| LogEvent::TaskFinished {
                task: TaskId(task),
                failure,
                time_ns,
            }
        ),
        (any_delivery(), any::<u64>())
            .prop_map(|(delivery, time_ns)| LogEvent::Delivered { delivery, time_ns }),
        any::<(String, u64)>().prop_map(|(name, time_ns)| LogEvent::Phase {
            name: name.into(),
            time_ns,
        }),
        any::<(String, u64, u64)>().prop_map(|(text, truncated_bytes, time_ns)| {
            LogEvent::GuestOutput {
                source: Source::Driver,
                stream: Stream::Stderr,
                text,
                truncated_bytes,
                time_ns,
            }
        }),
        any::<(u64, u32, String, u64)>().prop_map(|(task, number, message, time_ns)| {
            LogEvent::GuestLog {
                source: Source::Attempt(attempt(task, number)),
                level: GuestLevel::Warn,
                message,
                time_ns,
            }
        }),
        any::<(bool, i32, Option<String>, Option<String>, u64, u64)>().prop_map(
            |(ok, exit_code, report, error, submitted, time_ns)| LogEvent::RunFinished {
                ok,
                exit_code,
                report,
                error,
                counts: TaskCounts {
                    submitted,
                    ..TaskCounts::default()
                },
                time_ns,
            }
        ),
    ]
}

fn any_submission() -> impl Strategy<Value = LogEvent> {
    (
        any::<(u64, String, Vec<u64>, Option<String>, u64)>(),
        any::<(Option<u32>, Option<u64>, i32, u32, u64, bool)>(),
        any::<(u32, u64)>(),
    )
        .prop_map(
            |((task, name, parents, label, arguments_hash), options, (phase, time_ns))| {
                let (retries, timeout_ms, priority, cores, memory_bytes, pure) = options;
                LogEvent::Submitted {
                    task: TaskId(task),
                    name: name.into(),
                    parents: parents.into_iter().map(TaskId).collect(),
                    label: label.map(Into::into),
                    arguments_hash,
                    options: SubmitOptions {
                        retries,
                        timeout_ms,
                        priority,
                        cores,
                        memory_bytes,
                        pure,
                    },
                    phase,
                    time_ns,
                }
            },
        )
}

pub(crate) fn any_failure() -> impl Strategy<Value = Failure> {
    let outcome = prop_oneof![
        Just(OutcomeKind::TaskError),
        Just(OutcomeKind::Trap(TrapKind::StackOverflow)),
        Just(OutcomeKind::Timeout),
        Just(OutcomeKind::WorkerLost),
        Just(OutcomeKind::Cancelled),
        Just(OutcomeKind::UpstreamFailed),
        any::<(Option<i32>, Option<i32>)>()
            .prop_map(|(exit, signal)| OutcomeKind::ProgramError { exit, signal }),
    ];
    (outcome, any::<(String, String, Option<String>)>()).prop_map(
        |(outcome, (kind, message, detail))| Failure {
            outcome,
            kind,
            message,
            detail,
        },
    )
}

fn any_location() -> impl Strategy<Value = Location> {
    prop_oneof![
        vec(any::<u8>(), 0..200).prop_map(|bytes| Location::Inline(bytes.into())),
        any::<(u64, u64)>().prop_map(|(id, len)| Location::Segment(SegmentRef {
            id: SegmentId(id),
            len,
        })),
        any::<(String, u64, i64)>().prop_map(|(path, len, modified_ns)| {
            Location::File(FileRef {
                path: Arc::new(path.into()),
                fingerprint: Fingerprint { len, modified_ns },
            })
        }),
        any::<(String, u64)>().prop_map(|(key, len)| Location::Engine {
            key: key.into(),
            len,
        }),
    ]
}

fn any_transfer() -> impl Strategy<Value = Transfer> {
    let way = prop_oneof![
        Just(Way::Inline),
        Just(Way::Read),
        Just(Way::Mapped),
        Just(Way::Copied),
        Just(Way::Reference),
        Just(Way::Untouched),
    ];
    (any::<(u64, u64)>(), way, any::<u8>()).prop_map(|((bytes, bytes_moved), way, copies)| {
        Transfer {
            bytes,
            bytes_moved,
            way,
            copies,
        }
    })
}

pub(crate) fn any_report() -> impl Strategy<Value = AttemptReport> {
    let result = prop_oneof![
        vec(
            any_location().prop_map(|location| Output { location }),
            0..3
        )
        .prop_map(Ok),
        any_failure().prop_map(Err),
    ];
    let instantiation = prop_oneof![
        Just(Instantiation::Fresh),
        Just(Instantiation::Prewarmed),
        Just(Instantiation::Reused),
        Just(Instantiation::None),
    ];
    let injected = option::of(any_fault());
    (
        any::<(u64, u32, u32, u64, u64)>(),
        result,
        any::<[u32; 4]>(),
        (vec(any_transfer(), 0..4), vec(any_transfer(), 0..4)),
        (instantiation, injected, any::<Vec<String>>()),
    )
        .prop_map(|(numbers, result, times, (inputs, outputs), rest)| {
            let (task, number, worker, cpu_ns, peak_memory_bytes) = numbers;
            let [received, task_start, task_end, finished] = times.map(u64::from);
            let (instantiation, injected, notes) = rest;
            AttemptReport {
                id: attempt(task, number),
                worker: WorkerId(worker),
                result,
                timeline: Timeline {
                    received,
                    task_start,
                    task_end,
                    finished,
                    ..Timeline::default()
                },
                inputs,
                outputs,
                digests: Vec::new(),
                lost_inputs: vec![number],
                instantiation,
                cpu_ns,
                peak_memory_bytes,
                injected,
                executions: 1,
                programs: Vec::new(),
                notes,
            }
        })
}

fn any_fault() -> impl Strategy<Value = FaultPlan> {
    let action = proptest::sample::select(FaultAction::ALL.to_vec());
    let point = proptest::sample::select(FaultPoint::ALL.to_vec());
    (action, point, any::<(u32, u32, u64)>()).prop_map(|(action, point, numbers)| {
        let (mid_us, slow_ms, seed) = numbers;
        FaultPlan {
            action,
            point,
            mid_us,
            slow_ms,
            seed,
        }
    })
}

fn any_delivery() -> impl Strategy<Value = Delivery> {
    prop_oneof![
        vec(any::<(u64, u64)>(), 0..4).prop_map(|completions| {
            let completions = completions.into_iter().map(|(task, tag)| Completion {
                task: TaskId(task),
                tag,
                status: TaskStatus::Succeeded,
            });
            Delivery::Completions(completions.collect())
        }),
        any::<u64>().prop_map(|task| Delivery::Status {
            task: TaskId(task),
            status: TaskStatus::Pending,
        }),
        any::<(u64, u32, u64)>().prop_map(|(task, index, len)| Delivery::Result {
            output: OutputId {
                task: TaskId(task),
                index,
            },
            len,
        }),
        Just(Delivery::Timeout),
        Just(Delivery::Empty),
        any::<(String, u64, i64)>().prop_map(|(path, len, modified_ns)| Delivery::InputFile {
            path,
            fingerprint: Fingerprint { len, modified_ns },
        }),
    ]
}

/// The event with these ids instead of its own, where it has some.
pub(crate) fn aimed((mut event, (task, number)): (LogEvent, (u64, u32))) -> LogEvent {
    let aim = attempt(task, number);
    match &mut event {
        LogEvent::Submitted { task: id, .. }
        | LogEvent::Memoized { task: id, .. }
        | LogEvent::TaskFinished { task: id, .. } => *id = aim.task,
        LogEvent::AttemptStarted { id, .. }
        | LogEvent::AttemptReturned { id, .. }
        | LogEvent::ReportRepeated { id, .. } => *id = aim,
        LogEvent::AttemptFinished { report, .. } => report.id = aim,
        LogEvent::OutputsLost { outputs, .. } => {
            for output in outputs {
                output.task = aim.task;
            }
        }
        LogEvent::GuestLog { source, .. } => *source = Source::Attempt(aim),
        _ => {}
    }
    event
}

/// Starts this test program again, for its ignored test `child`, which is told of the directory by that
/// variable and says a byte on standard error for each event that must survive it.
pub(crate) fn child_in(test: &str, variable: &str, directory: &Path) -> (Child, ChildStderr) {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(variable, directory)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("spawn");
    let stderr = child.stderr.take().expect("piped");
    (child, stderr)
}
