//! Numbers for Prometheus.

use super::{ENDED, SUBMITTED, Watched, http, report, until};
use std::collections::BTreeMap;

/// Samples by name with labels, and the kind of each family, as the exposition format says.
#[derive(Debug, Default)]
struct Numbers {
    samples: BTreeMap<String, f64>,
    kinds: BTreeMap<String, String>,
    units: BTreeMap<String, String>,
}

impl Numbers {
    #[track_caller]
    fn parse(text: &str) -> Self {
        let mut numbers = Self::default();
        let body = text.strip_suffix("# EOF\n").expect("an end");
        for line in body.lines() {
            if let Some(about) = line.strip_prefix("# ") {
                let mut words = about.splitn(3, ' ');
                let (what, name) = (words.next().expect("a word"), words.next().expect("a name"));
                let rest = words.next().unwrap_or_default().to_owned();
                let kept = match what {
                    "TYPE" => numbers.kinds.insert(name.to_owned(), rest),
                    "UNIT" => numbers.units.insert(name.to_owned(), rest),
                    "HELP" => None,
                    _ => panic!("{line}"),
                };
                assert_eq!(kept, None, "once: {line}");
                continue;
            }
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
            let before = numbers.samples.insert(name.to_owned(), value);
            assert_eq!(before, None, "once: {line}");
        }
        numbers
    }

    #[track_caller]
    fn get(&self, name: &str) -> f64 {
        let found = self.samples.get(name);
        *found.unwrap_or_else(|| panic!("no {name} in {self:#?}"))
    }

    /// The sum over all labels.
    fn sum(&self, name: &str) -> f64 {
        let of = |found: &String| found.split('{').next() == Some(name);
        let samples = self.samples.iter().filter(|(found, _)| of(found));
        samples.map(|(_, value)| value).sum()
    }

    /// Fails unless names say what they are of, as Prometheus asks for.
    #[track_caller]
    fn expect_conventions(&self) {
        for (name, kind) in &self.kinds {
            assert!(name.starts_with("taps_"), "{name}");
            if let Some(unit) = self.units.get(name) {
                assert!(name.ends_with(&format!("_{unit}")), "{name} in {unit}");
                assert!(
                    ["seconds", "bytes"].contains(&unit.as_str()),
                    "{name}: {unit}"
                );
            }
            let samples = self.samples.keys().filter(|sample| {
                let sample = sample.split('{').next().unwrap_or_default();
                let rest = sample.strip_prefix(name.as_str());
                let ends: &[&str] = match kind.as_str() {
                    "counter" => &["_total"],
                    "gauge" => &[""],
                    "info" => &["_info"],
                    "histogram" => &["_bucket", "_count", "_sum"],
                    other => panic!("{name} is a {other}"),
                };
                rest.is_some_and(|rest| ends.contains(&rest))
            });
            let empty = ["taps_payload_bytes", "taps_payload_copied_bytes"];
            let may_be_empty = empty.contains(&name.as_str()) || name.contains("fail");
            assert!(samples.count() > 0 || may_be_empty, "{name} has samples");
        }
    }
}

#[track_caller]
fn numbers(address: &str) -> Numbers {
    read(&http::get(address, ""))
}

#[track_caller]
fn read(answer: &http::Answer) -> Numbers {
    assert_eq!(answer.status, 200, "{answer:?}");
    let kind = &answer.headers["content-type"];
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    Numbers::parse(answer.text())
}

#[test]
fn numbers_for_prometheus_are_those_of_the_run() {
    let watched = Watched::endless(&["--metrics-port", "0"]);
    let address = watched.address("Metrics");
    until("all short tasks have ended", || {
        numbers(&address).get("taps_tasks_ended_total{state=\"succeeded\"}") >= ENDED as f64
    });
    let found = numbers(&address);
    found.expect_conventions();
    for (name, value) in [
        ("taps_tasks_submitted_total", SUBMITTED as f64),
        ("taps_tasks_running", 1.0),
        ("taps_tasks_waiting", 0.0),
        ("taps_tasks_ended_total{state=\"failed\"}", 0.0),
        ("taps_attempts_total{outcome=\"ok\"}", ENDED as f64),
        ("taps_retries_total", 0.0),
        ("taps_workers", 2.0),
        ("taps_slots", 2.0),
        (
            "taps_task_duration_seconds_count{task=\"nap\"}",
            ENDED as f64,
        ),
    ] {
        assert!(
            (found.get(name) - value).abs() < 1e-9,
            "{name}: {}",
            found.get(name)
        );
    }
    let info = found
        .samples
        .keys()
        .find(|name| name.starts_with("taps_run_info{"));
    let info = info.expect("what runs");
    assert!(
        info.contains("app=\"probe\"") && info.contains("executor=\"thread-pool\""),
        "{info}"
    );
    let (host, path) = http::parts(&address);
    assert_eq!(path, "/metrics");
    for (head, status) in [
        (format!("GET / HTTP/1.1\r\nHost: {host}\r\n"), 404),
        (
            "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n".to_owned(),
            403,
        ),
        (
            format!("POST /metrics HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n"),
            405,
        ),
    ] {
        let answer = http::send(host, &head);
        assert_eq!((answer.status, answer.body.len()), (status, 0), "{head}");
    }
    let (_, ended) = watched.interrupt();
    ended.expect(130);
}

#[test]
fn numbers_rise_to_those_of_the_report() {
    let args = [
        "synthetic",
        "--app.structure=bag",
        "--app.bag-max-running=4",
        "--app.task-count=40",
        "--app.task-data-bytes=200000",
        "--app.task-sleep=0.05",
        "--executor.max-threads=2",
        "--faults=failure",
        "--faults.rate=0.3",
        "--faults.attempts=[0]",
        "--retries=3",
        "--metrics-port=0",
        "-q",
    ];
    let watched = Watched::start(&args);
    let address = watched.address("Metrics");
    // Numbers never fall, and are never beyond what there is.
    let mut last = Numbers::default();
    let mut reads = 0;
    while let Some(answer) = http::try_get(&address).filter(|answer| answer.status == 200) {
        let found = read(&answer);
        for (name, value) in &last.samples {
            let kind = name.split('{').next().unwrap_or_default();
            if kind.ends_with("_total") || kind.ends_with("_count") {
                assert!(found.get(name) >= *value, "{name} fell");
            }
        }
        (last, reads) = (found, reads + 1);
    }
    assert!(reads > 2, "the run was read while it went on");
    let (place, ended) = watched.end();
    ended.expect(0);
    let report = report(&place);
    let counts = &report["counts"];
    let most = |name: &str| counts[name].as_f64().expect("a count");
    for (name, most) in [
        ("taps_tasks_submitted_total", most("submitted")),
        ("taps_retries_total", most("retried")),
        ("taps_attempts_total", most("attempts")),
    ] {
        let sum = last.sum(name);
        assert!(sum > 0.0 && sum <= most, "{name}: {sum} of {most}");
    }
    for direction in ["inputs", "outputs"] {
        let ways = report["flow"][direction].as_object().expect("ways");
        for (way, sums) in ways {
            let labels = format!(
                "{{direction=\"{}\",way=\"{way}\"}}",
                &direction[..direction.len() - 1]
            );
            let name = format!("taps_payload_bytes_total{labels}");
            let Some(read) = last.samples.get(&name) else {
                continue;
            };
            assert!(*read <= sums["bytes"].as_f64().expect("bytes"), "{name}");
        }
    }
    assert!(last.sum("taps_payload_bytes_total") > 0.0);
}
