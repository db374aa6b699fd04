//! Traces for OpenTelemetry.

use super::collector::{Came, Collector, Mood};
use crate::{
    harness::{Ended, Place, Running, tasks},
    pool::Pool,
    walks::resume,
};
use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    os::unix::process::ExitStatusExt as _,
};

/// Dependent tasks, some of which fail and are tried again.
const FAULTY: [&str; 10] = [
    "synthetic",
    "--app.structure=diamond",
    "--app.task-count=40",
    "--app.task-data-bytes=1000",
    "--executor.max-threads=2",
    "--faults=failure",
    "--faults.rate=0.3",
    "--faults.attempts=[0]",
    "--retries=3",
    "--json",
];

/// Runs with traces to a collector.
fn run(args: &[&str], collector: &Collector) -> (Place, Ended, Came) {
    let place = Place::new();
    let ended = place.run(&[args, &["--otlp-endpoint", &collector.address]].concat());
    (place, ended, collector.came())
}

/// Lines of the log of the only run of a place.
fn log(place: &Place) -> String {
    std::fs::read_to_string(place.only_run().join("log.txt")).expect("log.txt")
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => text.clone(),
        Any::IntValue(number) => number.to_string(),
        Any::DoubleValue(number) => number.to_string(),
        Any::BoolValue(value) => value.to_string(),
        other => panic!("{key}: {other:?}"),
    })
}

#[track_caller]
fn of(span: &Span, key: &str) -> String {
    text(&span.attributes, key).unwrap_or_else(|| panic!("no {key} in {span:?}"))
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().expect("a status").code == i32::from(StatusCode::Error)
}

/// Nanoseconds since 1970 of seconds in a record, which have some microseconds of error.
#[track_caller]
fn expect_time(nanoseconds: u64, record: &Value, what: &str) {
    let seconds = record.as_f64().expect("a time");
    let off = (nanoseconds as f64 / 1e9 - seconds).abs();
    assert!(off < 1e-4, "{what}: {nanoseconds} {seconds}");
}

#[test]
fn spans_are_those_of_the_records() {
    let collector = Collector::start(Mood::Well);
    let (place, ended, came) = run(&FAULTY, &collector);
    let json = ended.expect(0).json();
    assert_eq!(came.head, ["POST /v1/traces", "application/x-protobuf", ""]);
    let spans = came.spans();
    assert_eq!(json["spans"]["exported"], spans.len());
    assert_eq!(json["spans"]["dropped"], 0);
    let traces: HashSet<_> = spans.iter().map(|span| &span.trace_id).collect();
    assert_eq!(traces.len(), 1, "one trace");
    let by_id: HashMap<_, _> = spans.iter().map(|span| (&span.span_id, span)).collect();
    assert_eq!(by_id.len(), spans.len(), "every span has its own name");
    for span in &spans {
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
        assert_eq!(span.kind, i32::from(SpanKind::Internal));
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert!(span.start_time_unix_nano > 1_500_000_000_000_000_000);
        if let Some(parent) = by_id.get(&span.parent_span_id) {
            assert!(
                parent.start_time_unix_nano <= span.start_time_unix_nano,
                "{span:?}"
            );
            assert!(
                parent.end_time_unix_nano >= span.end_time_unix_nano,
                "{span:?}"
            );
        }
    }
    let roots: Vec<_> = spans
        .iter()
        .filter(|span| span.parent_span_id.is_empty())
        .collect();
    let [root] = roots[..] else {
        panic!("{roots:#?}")
    };
    assert_eq!(root.name, "synthetic");
    assert!(!is_error(root));
    assert_eq!(of(root, "process.exit.code"), "0");
    assert_eq!(of(root, "taps.executor"), "thread-pool");

    let records = tasks(&place.only_run());
    let mut tasks_by_id = BTreeMap::new();
    let mut attempts = Vec::new();
    for span in &spans {
        if span.parent_span_id == root.span_id {
            tasks_by_id.insert(of(span, "taps.task.id"), span);
        } else if !span.parent_span_id.is_empty() {
            attempts.push(span);
        }
    }
    assert_eq!(attempts.len(), records.len());
    let finals = records.iter().filter(|record| record["final"] == true);
    assert_eq!(tasks_by_id.len(), finals.clone().count());
    for record in finals {
        let id = record["task_id"].as_str().expect("an id");
        let span = tasks_by_id[id];
        assert_eq!(Value::from(span.name.clone()), record["name"]);
        assert_eq!(Value::from(of(span, "code.function.name")), record["name"]);
        expect_time(
            span.start_time_unix_nano,
            &record["submit_time"],
            "submitted",
        );
        let parents = record["parent_task_ids"].as_array().expect("parents");
        let linked: Vec<_> = span
            .links
            .iter()
            .map(|link| of(by_id[&link.span_id], "taps.task.id"))
            .collect();
        let parents: Vec<_> = parents
            .iter()
            .map(|id| id.as_str().expect("an id"))
            .collect();
        assert_eq!(linked, parents);
    }
    let mut failed = 0;
    for record in &records {
        let number = record["attempt"].to_string();
        let span = attempts.iter().find(|span| {
            record["task_id"] == of(span, "taps.task.id")
                && number == of(span, "taps.attempt.number")
        });
        let span = span.unwrap_or_else(|| panic!("no span for {record}"));
        assert_eq!(
            by_id[&span.parent_span_id].name,
            record["name"].as_str().expect("a name")
        );
        assert_eq!(Value::from(of(span, "taps.outcome")), record["outcome"]);
        assert_eq!(of(span, "taps.worker.id"), record["worker"].to_string());
        assert_eq!(is_error(span), record["success"] == false);
        let began = span
            .events
            .iter()
            .find(|event| event.name == "function.started");
        if let Some(began) = began {
            expect_time(
                began.time_unix_nano,
                &record["execution"]["task_start_time"],
                "started",
            );
        }
        if is_error(span) {
            failed += 1;
            assert_eq!(Value::from(of(span, "error.type")), record["outcome"]);
            let said = span.events.iter().find(|event| event.name == "exception");
            let said = said.expect("the error as an event");
            let message = text(&said.attributes, "exception.message").expect("a message");
            assert_eq!(Value::from(message), record["exception"]["message"]);
            assert_eq!(of(span, "taps.fault.injected"), "failure");
        } else {
            assert!(began.is_some());
        }
    }
    assert!(failed > 0, "some attempts failed");
    let resource = came.requests[0].resource_spans[0]
        .resource
        .as_ref()
        .expect("a resource");
    assert_eq!(
        text(&resource.attributes, "service.name").as_deref(),
        Some("taps-wasm")
    );
    assert!(text(&resource.attributes, "host.name").is_some());
}

#[test]
fn many_spans_come_in_bounded_requests() {
    let args = [
        "synthetic",
        "--app.structure=bag",
        "--app.bag-max-running=100",
        "--app.task-count=3000",
        "--executor=native",
        "--json",
    ];
    let collector = Collector::start(Mood::Busy(2));
    let (_, ended, came) = run(&args, &collector);
    let json = ended.expect(0).json();
    assert_eq!(
        json["spans"],
        serde_json::json!({"exported": 6001, "dropped": 0})
    );
    assert_eq!(came.spans().len(), 6001);
    for request in &came.requests {
        assert!(request.resource_spans[0].scope_spans[0].spans.len() <= 512);
    }
    assert!(came.tries > 2);
}

#[test]
fn a_collector_that_does_not_take_spans_costs_a_line() {
    let unreachable = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}", listener.local_addr().expect("an address"))
    };
    for (mood, reason) in [
        (None, "Connection refused"),
        (Some(Mood::Refuses), "it answered 400 Bad Request"),
        (Some(Mood::Hangs), "it took too long"),
        (Some(Mood::Sends), "it answered 307 Temporary Redirect"),
    ] {
        let collector = mood.map(Collector::start);
        let address = collector
            .as_ref()
            .map_or(&unreachable, |collector| &collector.address);
        let place = Place::new();
        let ended = place.run(&[&FAULTY[..], &["--otlp-endpoint", address]].concat());
        let json = ended.expect(0).json();
        assert_eq!(json["ok"], true);
        assert_eq!(json["spans"]["exported"], 0, "{mood:?}");
        let dropped = json["spans"]["dropped"].as_u64().expect("a count");
        assert!(
            dropped as usize > tasks(&place.only_run()).len(),
            "{dropped}"
        );
        let log = log(&place);
        let said = format!(
            "{dropped} of {dropped} spans did not reach the collector at {address}/v1/traces: "
        );
        let line = log.lines().find(|line| line.contains(&said));
        let line = line.unwrap_or_else(|| {
            panic!(
                "no `{said}` in
{log}"
            )
        });
        assert!(
            line.contains("WARNING (live) > ") && line.contains(reason),
            "{line}"
        );
    }
}

#[test]
fn rejected_spans_are_counted() {
    let collector = Collector::start(Mood::Picks);
    let (place, ended, came) = run(&FAULTY, &collector);
    let json = ended.expect(0).json();
    let requests = came.requests.len() as u64;
    assert!(requests > 0);
    assert_eq!(json["spans"]["dropped"], requests);
    assert_eq!(
        json["spans"]["exported"],
        came.spans().len() as u64 - requests
    );
    assert!(log(&place).contains("it rejected some: one too many"));
}

#[test]
fn the_environment_is_asked_only_when_that_is_said() {
    let collector = Collector::start(Mood::Well);
    let place = Place::new();
    for (run, setting, taken) in [("a", "none", false), ("b", "env", true)] {
        let setting = format!("--otlp-endpoint={setting}");
        let directory = format!("--run-dir={run}");
        let args = [&["run"], &FAULTY[..], &[&setting, &directory]].concat();
        let mut command = place.command(args);
        command
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.address)
            .env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20secret");
        let ended = Running::new(command, place.path()).end();
        let json = ended.expect(0).json();
        assert_eq!(json["spans"].is_object(), taken);
        assert_eq!(collector.came().tries > 0, taken);
        for file in ["config.toml", "log.txt", "environment.json"] {
            let text = std::fs::read_to_string(place.path().join(run).join(file));
            let text = text.expect("a record");
            assert!(
                !text.contains("secret") && !text.contains(&collector.address),
                "{file}"
            );
        }
    }
    assert_eq!(collector.came().head[2], "a secret");
}

#[test]
fn a_run_that_failed_has_a_root_that_says_so() {
    let collector = Collector::start(Mood::Well);
    let args = [
        crate::harness::probe(),
        "--app.action=driver-panic",
        "-q",
        "--json",
    ];
    let (_, ended, came) = run(&args, &collector);
    ended.expect(1);
    let spans = came.spans();
    let root = spans.iter().find(|span| span.parent_span_id.is_empty());
    let root = root.expect("a root");
    assert!(is_error(root));
    assert_eq!(of(root, "process.exit.code"), "1");
    assert!(!root.status.as_ref().expect("a status").message.is_empty());
}

#[test]
fn a_resumed_run_has_a_trace_of_its_own_for_what_happened_since() {
    let collector = Collector::start(Mood::Well);
    let args = [
        "run",
        "synthetic",
        "--app.structure=sequential",
        "--app.task-count=40",
        "--faults.signal-at-event=60",
        "--otlp-endpoint",
        &collector.address,
        "--json",
    ];
    let left = Pool::command(Place::new(), &args).end();
    assert_eq!(left.status.signal(), Some(9), "{}", left.text());
    let before = left.events().finished;
    assert!((1..40).contains(&before), "{before}");

    let resumed = resume(left.place).end();
    resumed.expect(0);
    let spans = collector.came().spans();
    let roots: Vec<_> = spans
        .iter()
        .filter(|span| span.parent_span_id.is_empty())
        .collect();
    let [root] = roots[..] else {
        panic!("only the life that ended has a root: {roots:#?}")
    };
    let (later, earlier): (Vec<_>, Vec<_>) = spans
        .iter()
        .partition(|span| span.trace_id == root.trace_id);
    assert_eq!(resumed.json()["spans"]["exported"], later.len());
    let tasks = later
        .iter()
        .filter(|span| span.parent_span_id == root.span_id);
    assert_eq!(tasks.count(), 40 - before);
    let life = root.start_time_unix_nano..=root.end_time_unix_nano;
    for span in later {
        assert!(life.contains(&span.end_time_unix_nano), "{span:?}");
    }
    for span in earlier {
        assert!(span.end_time_unix_nano <= *life.start(), "{span:?}");
    }
}
