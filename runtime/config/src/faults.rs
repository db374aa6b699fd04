//! Faults: their names, what each needs of a run, and the section `[faults]` as typed values.

use serde_json::{Map, Value};
use std::time::Duration;

/// What a type of fault needs of the run that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultNeed {
    /// Nothing that not every run has.
    Nothing,
    /// A sandbox, whose limit it meets.
    Sandbox,
    /// A sandbox, and a limit of an attempt's time, which ends it.
    TimeLimit,
    /// Worker processes, which it kills.
    WorkerProcesses,
    /// Lineage: that finished tasks are run again.
    Lineage,
    /// A task that runs an external program.
    Program,
}

/// The word for a draw from several types.
pub(crate) const RANDOM: &str = "random";

/// How many of [`FAULT_TYPES`], from the first, are TaPS's.
const FROM_TAPS: usize = 10;

/// Types of faults, TaPS's first, and what each needs.
pub const FAULT_TYPES: [(&str, FaultNeed); 15] = [
    ("dependency", FaultNeed::Nothing),
    ("failure", FaultNeed::Nothing),
    ("import", FaultNeed::Nothing),
    ("manager-killed", FaultNeed::WorkerProcesses),
    ("memory", FaultNeed::Sandbox),
    ("node-killed", FaultNeed::WorkerProcesses),
    ("timeout", FaultNeed::TimeLimit),
    ("ulimit", FaultNeed::Sandbox),
    ("worker-killed", FaultNeed::WorkerProcesses),
    ("zero-division", FaultNeed::Nothing),
    ("lost-result", FaultNeed::Lineage),
    ("late-duplicate", FaultNeed::Nothing),
    ("slow-worker", FaultNeed::Nothing),
    ("corrupt-payload", FaultNeed::Nothing),
    ("program-crash", FaultNeed::Program),
];

/// The names of all types.
pub(crate) fn names() -> [&'static str; 15] {
    FAULT_TYPES.map(|(name, _)| name)
}

/// The names of TaPS's types.
pub(crate) fn names_of_taps() -> Vec<&'static str> {
    names().into_iter().take(FROM_TAPS).collect()
}

/// What a type needs.
pub(crate) fn need(name: &str) -> FaultNeed {
    FAULT_TYPES
        .iter()
        .find(|(known, _)| *known == name)
        .map_or(FaultNeed::Nothing, |&(_, need)| need)
}

/// The types that can strike, by the values of `type` and `random_from`; none when there are no faults.
pub(crate) fn types(kind: Option<&Value>, random_from: Option<&Value>) -> Vec<String> {
    match kind.and_then(Value::as_str) {
        Some(RANDOM) => texts(random_from),
        Some(one) => vec![one.to_owned()],
        None => Vec::new(),
    }
}

/// Section `[faults]`: what goes wrong in a run on purpose.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultsSettings {
    /// Names from [`FAULT_TYPES`], of which one is drawn for each fault; without any the run has no faults.
    pub types: Vec<String>,
    /// Share of the tries that are hit, of those that are aimed at; from 0 to 1.
    pub rate: f64,
    /// Seed of the draws; the run's unless set.
    pub seed: Option<u64>,
    /// When a fault strikes.
    pub point: FaultPoint,
    /// Names of the tasks that are aimed at; empty for all.
    pub tasks: Vec<String>,
    /// Which submissions of a name, from 0; empty for all.
    pub indices: Vec<u64>,
    /// Which tries of a task, from 0; empty for all.
    pub attempts: Vec<u32>,
    /// Which workers, from 0; empty for all.
    pub workers: Vec<u32>,
    /// Most faults of the run.
    pub budget: Option<u64>,
    /// Submissions of a name that are hit together.
    pub burst: u64,
    /// With [`FaultPoint::Mid`], how long a task runs before.
    pub mid: Duration,
    /// How long a slow worker stands still.
    pub slow: Duration,
    /// The number of the event, from 1, after which the run sends itself `signal`.
    pub signal_at_event: Option<u64>,
    /// The signal.
    pub signal: RunSignal,
}

/// When a fault strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FaultPoint {
    /// Before the task function is called.
    #[default]
    Before,
    /// While it runs.
    Mid,
    /// After it returned, before its results are published.
    After,
}

/// A signal that a run sends itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RunSignal {
    /// SIGKILL: the process is gone at once.
    #[default]
    Kill,
    /// SIGSTOP: the process stands still until it is continued or killed.
    Stop,
}

impl FaultsSettings {
    /// The typed form of the validated section.
    pub(crate) fn from_values(faults: &Map<String, Value>) -> Self {
        let whole = |key: &str| faults.get(key).and_then(Value::as_u64);
        let text = |key: &str| faults.get(key).and_then(Value::as_str);
        Self {
            types: types(faults.get("type"), faults.get("random_from")),
            rate: faults.get("rate").and_then(Value::as_f64).unwrap_or(1.0),
            seed: whole("seed"),
            point: match text("point") {
                Some("mid") => FaultPoint::Mid,
                Some("after") => FaultPoint::After,
                _ => FaultPoint::Before,
            },
            tasks: texts(faults.get("tasks")),
            indices: numbers(faults.get("indices")),
            attempts: numbers(faults.get("attempts")),
            workers: numbers(faults.get("workers")),
            budget: whole("budget"),
            burst: whole("burst").unwrap_or(1),
            mid: faults
                .get("mid_ms")
                .and_then(Value::as_f64)
                .and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok())
                .unwrap_or_default(),
            slow: Duration::from_millis(whole("slow_ms").unwrap_or_default()),
            signal_at_event: whole("signal_at_event"),
            signal: match text("signal") {
                Some("stop") => RunSignal::Stop,
                _ => RunSignal::Kill,
            },
        }
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn numbers<T: TryFrom<u64>>(value: Option<&Value>) -> Vec<T> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items
        .filter_map(|item| T::try_from(item.as_u64()?).ok())
        .collect()
}
