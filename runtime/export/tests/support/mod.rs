//! What every export must be, whatever the run was. Also for the tests of the program.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A slice of a trace; times in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    pub(crate) track: (u64, u64),
    pub(crate) from_ns: u128,
    pub(crate) to_ns: u128,
    pub(crate) event: Value,
}

/// A trace that was found to be sound.
pub(crate) struct Trace {
    pub(crate) slices: Vec<Slice>,
    pub(crate) events: Vec<(u128, Value)>,
    pub(crate) other: Value,
}

impl Trace {
    /// Slices of attempts.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = &Slice> {
        let of = |slice: &&Slice| slice.event["cat"] == "attempt";
        self.slices.iter().filter(of)
    }

    /// Parts of an attempt.
    pub(crate) fn parts<'a>(&'a self, attempt: &'a Slice) -> impl Iterator<Item = &'a Slice> {
        self.slices.iter().filter(|slice| {
            slice.event["cat"] == "part"
                && slice.track == attempt.track
                && attempt.from_ns <= slice.from_ns
                && slice.to_ns <= attempt.to_ns
        })
    }

    /// Events of a kind and name.
    pub(crate) fn named(&self, kind: &str, name: &str) -> Vec<&(u128, Value)> {
        let of = |(_, event): &&(u128, Value)| event["ph"] == kind && event["name"] == name;
        self.events.iter().filter(of).collect()
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().map(text).collect()
}

/// A member of an event in nanoseconds, as it is written: a float would not be exact.
fn nanoseconds(line: &str, member: &str) -> Option<u128> {
    let (_, rest) = line.split_once(&format!("\"{member}\":"))?;
    let end = rest.find([',', '}']).expect("an end");
    let (micros, decimals) = rest[..end].split_once('.').expect("decimals");
    assert_eq!(decimals.len(), 3, "{line}");
    Some(
        micros.parse::<u128>().expect("digits") * 1_000 + decimals.parse::<u128>().expect("digits"),
    )
}

/// Checks that slices nest and attempts of a track do not overlap, that begins have ends, and that arrows go from
/// slice to slice.
#[track_caller]
pub(crate) fn sound_trace(json: &str) -> Trace {
    let whole: Value = serde_json::from_str(json).expect("JSON");
    let count = list(&whole["traceEvents"]).len();
    let mut trace = Trace {
        slices: Vec::new(),
        events: Vec::new(),
        other: whole["otherData"].clone(),
    };
    for line in json.lines().filter(|line| line.starts_with("{\"ph\"")) {
        let event: Value = serde_json::from_str(line.trim_end_matches(',')).expect("an event");
        let from_ns = nanoseconds(line, "ts").expect("a time");
        if let Some(duration_ns) = nanoseconds(line, "dur") {
            trace.slices.push(Slice {
                track: (number(&event["pid"]), number(&event["tid"])),
                from_ns,
                to_ns: from_ns + duration_ns,
                event: event.clone(),
            });
        }
        trace.events.push((from_ns, event));
    }
    assert_eq!(trace.events.len(), count, "an event on each line");
    expect_nested(&trace);
    expect_pairs(&trace);
    expect_arrows(&trace);
    trace
}

#[track_caller]
fn expect_nested(trace: &Trace) {
    let mut tracks = BTreeMap::<_, Vec<&Slice>>::new();
    for slice in &trace.slices {
        tracks.entry(slice.track).or_default().push(slice);
    }
    let named: BTreeSet<(u64, u64)> = trace
        .named("M", "thread_name")
        .iter()
        .map(|(_, event)| (number(&event["pid"]), number(&event["tid"])))
        .collect();
    for (track, mut slices) in tracks {
        assert!(named.contains(&track), "{track:?} has a name");
        slices.sort_by_key(|slice| (slice.from_ns, std::cmp::Reverse(slice.to_ns)));
        let mut open: Vec<&Slice> = Vec::new();
        for slice in slices {
            while open.last().is_some_and(|last| last.to_ns <= slice.from_ns) {
                open.pop();
            }
            if let Some(around) = open.last() {
                assert!(slice.to_ns <= around.to_ns, "{slice:?} in {around:?}");
                let is_attempt = slice.event["cat"] == "attempt" && slice.to_ns > slice.from_ns;
                assert!(!is_attempt, "{slice:?} overlaps {around:?}");
            }
            open.push(slice);
        }
    }
}

#[track_caller]
fn expect_pairs(trace: &Trace) {
    let mut open = HashMap::<String, Vec<(String, u128)>>::new();
    for (time_ns, event) in &trace.events {
        let kind = text(&event["ph"]);
        assert!(
            ["M", "X", "C", "i", "b", "e", "s", "f"].contains(&kind),
            "{event}"
        );
        if !["b", "e"].contains(&kind) {
            continue;
        }
        let stack = open.entry(text(&event["id"]).to_owned()).or_default();
        let name = text(&event["name"]).to_owned();
        if kind == "b" {
            assert!(
                stack.last().is_none_or(|(_, from_ns)| from_ns <= time_ns),
                "{event}"
            );
            stack.push((name, *time_ns));
        } else {
            let (begun, from_ns) = stack.pop().expect("it began");
            assert!(begun == name && from_ns <= *time_ns, "{event}");
        }
    }
    assert!(open.values().all(Vec::is_empty), "{open:?}");
}

#[track_caller]
fn expect_arrows(trace: &Trace) {
    let track = |event: &Value| (number(&event["pid"]), number(&event["tid"]));
    let mut begun = HashMap::new();
    let mut attempts = HashMap::<_, Vec<&Slice>>::new();
    for slice in trace.attempts() {
        attempts.entry(slice.track).or_default().push(slice);
    }
    for (time_ns, event) in &trace.events {
        if event["ph"] == "s" {
            let on = &attempts[&track(event)];
            let inside = on
                .iter()
                .any(|slice| slice.from_ns <= *time_ns && *time_ns <= slice.to_ns);
            assert!(inside, "{event} leaves an attempt");
            assert!(
                begun.insert(number(&event["id"]), *time_ns).is_none(),
                "{event}"
            );
        } else if event["ph"] == "f" {
            let from_ns = begun.remove(&number(&event["id"])).expect("its beginning");
            let on = &attempts[&track(event)];
            assert!(
                on.iter().any(|slice| slice.from_ns == *time_ns),
                "{event} reaches an attempt"
            );
            assert!(from_ns <= *time_ns, "{event} goes forward");
        }
    }
    assert!(begun.is_empty(), "{begun:?}");
}

/// Checks what WfFormat's schema cannot: that ids are unique and plain, parents and children agree, nothing waits for
/// itself, every file has one producer at most and is declared, what is executed is specified, and sums are right.
#[track_caller]
pub(crate) fn sound_instance(instance: &Value) {
    let specification = &instance["workflow"]["specification"];
    let tasks = list(&specification["tasks"]);
    let mut of_id = HashMap::new();
    for task in tasks {
        let id = text(&task["id"]);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.#".contains(c);
        assert!(!id.is_empty() && id.chars().all(plain), "{id}");
        assert!(of_id.insert(id, task).is_none(), "{id} twice");
        assert!(!text(&task["name"]).is_empty());
    }
    let files: HashMap<&str, u64> = list(&specification["files"])
        .iter()
        .map(|file| (text(&file["id"]), number(&file["sizeInBytes"])))
        .collect();
    assert_eq!(
        files.len(),
        list(&specification["files"]).len(),
        "files are listed once"
    );
    expect_edges(tasks, &of_id);
    expect_files(tasks, &files);
    let widths = widths(tasks);
    if instance["schemaVersion"] == "1.6" {
        let metrics = &specification["metrics"];
        for (name, expected) in [
            ("numberOfTasks", tasks.len() as u64),
            ("numberOfFiles", files.len() as u64),
            (
                "sumOfFileSizesInBytes",
                files.values().copied().fold(0, u64::saturating_add),
            ),
            ("numberOfLevels", widths.len() as u64),
            (
                "minimumWidth",
                widths.values().min().copied().expect("a level"),
            ),
            (
                "maximumWidth",
                widths.values().max().copied().expect("a level"),
            ),
        ] {
            assert_eq!(number(&metrics[name]), expected, "{name}");
        }
    } else {
        assert_eq!(specification["metrics"], Value::Null);
    }
    expect_execution(instance, &of_id);
}

#[track_caller]
fn expect_edges(tasks: &[Value], of_id: &HashMap<&str, &Value>) {
    for task in tasks {
        let id = text(&task["id"]);
        for (own, theirs) in [("parents", "children"), ("children", "parents")] {
            let others = texts(&task[own]);
            let unique: BTreeSet<_> = others.iter().collect();
            assert_eq!(unique.len(), others.len(), "{own} of {id} are listed once");
            for other in others {
                let back = texts(&of_id[other][theirs]);
                assert!(back.contains(&id), "{theirs} of {other} have {id}");
            }
        }
    }
}

#[track_caller]
fn expect_files(tasks: &[Value], files: &HashMap<&str, u64>) {
    let mut producers = HashMap::new();
    let mut used = BTreeSet::new();
    for task in tasks {
        for file in texts(&task["outputFiles"]) {
            let other = producers.insert(file, text(&task["id"]));
            assert_eq!(other, None, "{file} has one producer");
            used.insert(file);
        }
    }
    for task in tasks {
        for file in texts(&task["inputFiles"]) {
            used.insert(file);
            if let Some(producer) = producers.get(file) {
                assert!(
                    texts(&task["parents"]).contains(producer),
                    "{file} comes from a parent"
                );
            }
        }
    }
    for file in &used {
        assert!(files.contains_key(file), "{file} is declared");
    }
    assert_eq!(used.len(), files.len(), "every file is used");
}

/// Tasks on each level. Fails where tasks wait for each other in a circle.
#[track_caller]
fn widths(tasks: &[Value]) -> BTreeMap<u64, u64> {
    let mut waiting: HashMap<&str, usize> = HashMap::new();
    let mut children: HashMap<&str, Vec<&str>> = HashMap::new();
    for task in tasks {
        waiting.insert(text(&task["id"]), list(&task["parents"]).len());
        children.insert(text(&task["id"]), texts(&task["children"]));
    }
    let mut ready: Vec<&str> = waiting
        .iter()
        .filter(|(_, n)| **n == 0)
        .map(|(id, _)| *id)
        .collect();
    let (mut widths, mut level, mut done) = (BTreeMap::new(), 0, 0);
    while !ready.is_empty() {
        widths.insert(level, ready.len() as u64);
        done += ready.len();
        level += 1;
        let mut next = Vec::new();
        for child in ready.iter().flat_map(|id| &children[id]) {
            let left = waiting.get_mut(child).expect("a task");
            *left -= 1;
            if *left == 0 {
                next.push(*child);
            }
        }
        ready = next;
    }
    assert_eq!(done, tasks.len(), "no circles");
    widths
}

#[track_caller]
fn expect_execution(instance: &Value, of_id: &HashMap<&str, &Value>) {
    let execution = &instance["workflow"]["execution"];
    if execution.is_null() {
        return;
    }
    let executed = list(&execution["tasks"]);
    let machines: BTreeSet<&str> = execution["machines"]
        .as_array()
        .map(|machines| {
            machines
                .iter()
                .map(|machine| text(&machine["nodeName"]))
                .collect()
        })
        .unwrap_or_default();
    let (mut seen, mut runtime, mut read, mut written) = (BTreeSet::new(), 0.0, 0_u64, 0_u64);
    for task in executed {
        let id = text(&task["id"]);
        assert!(of_id.contains_key(id), "{id} is specified");
        assert!(seen.insert(id), "{id} was executed once");
        runtime += task["runtimeInSeconds"].as_f64().expect("a number");
        read = task["readBytes"].as_u64().unwrap_or(0).saturating_add(read);
        written = task["writtenBytes"]
            .as_u64()
            .unwrap_or(0)
            .saturating_add(written);
        for machine in task["machines"].as_array().into_iter().flatten() {
            assert!(machines.contains(text(machine)), "{machine} is declared");
        }
    }
    if instance["schemaVersion"] == "1.6" {
        let metrics = &execution["metrics"];
        let sum = metrics["sumTaskRuntimesInSeconds"].as_f64().expect("a sum");
        assert!(
            (sum - runtime).abs() <= 1e-9 * runtime.max(1.0),
            "{sum} {runtime}"
        );
        assert_eq!(number(&metrics["totalNumBytesRead"]), read);
        assert_eq!(number(&metrics["totalNumBytesWritten"]), written);
    }
}
