//! `report` and `compare`: what the pages say of runs that ended in many ways, and what a browser makes of them.

use crate::{
    browser,
    harness::{Place, lines, probe, tasks},
};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// A run of forty tasks of which some fail and are tried again.
pub(crate) const FAULTY: [&str; 12] = [
    "synthetic",
    "--app.structure=bag",
    "--app.bag-max-running=8",
    "--app.task-count=40",
    "--app.task-data-bytes=100000",
    "--app.task-sleep=0.002",
    "--executor.max-threads=2",
    "--faults=failure",
    "--faults.rate=0.3",
    "--faults.attempts=[0]",
    "--retries=3",
    "-q",
];

/// A run of dependent tasks of several names.
pub(crate) const CHOLESKY: [&str; 5] = [
    "cholesky",
    "--app.matrix-size=120",
    "--app.block-size=30",
    "--executor.max-threads=2",
    "-q",
];

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Makes the page of the only run of a place, and says where it is.
#[track_caller]
fn page(place: &Place) -> PathBuf {
    let run = place.only_run();
    let ended = place.call(["report", text(&run)]);
    ended.expect(0);
    let page = run.join("report.html");
    assert_eq!(ended.stdout, format!("{}\n", page.display()));
    page
}

/// What the page of a run would show.
#[track_caller]
pub(crate) fn model(place: &Place, run: &Path) -> Value {
    place.call(["report", text(run), "--json"]).expect(0).json()
}

fn notes(model: &Value) -> Vec<&str> {
    let notes = model["notes"].as_array().expect("notes").iter();
    notes.map(|note| note.as_str().expect("a text")).collect()
}

#[test]
fn a_browser_shows_every_view_of_a_run() {
    if !browser::is_there() {
        return;
    }
    let place = Place::new();
    place.run(&FAULTY).expect(0);
    let page = page(&place);
    let found = browser::used(&place, &page, &[]);
    let sections = [
        "time",
        "over-time",
        "gantt",
        "tasks",
        "payloads",
        "memory",
        "failures",
        "graph",
        "configuration",
    ];
    assert_eq!(found["sections"], serde_json::json!(sections));
    let charts = [
        "throughput",
        "concurrency",
        "waiting",
        "gantt-chart",
        "payload-bytes",
        "memory-chart",
    ];
    browser::expect_charts(&found, &charts);
    assert_eq!(found["graph"]["nodes"], 40);
    for table in ["attempts", "failed"] {
        assert_eq!(found["tables"][table]["filtered"], 0, "{table}");
    }
    for (name, table) in found["tables"].as_object().expect("tables") {
        assert!(table["rows"].as_u64() > Some(0), "{name}");
        let sorted = table["sorted"].as_str().expect("a text");
        assert!(
            ["ascending", "descending"].contains(&sorted),
            "{name}: {sorted}"
        );
    }
    let dark = browser::used(&place, &page, &["--blink-settings=preferredColorScheme=0"]);
    browser::expect_charts(&dark, &charts);
    assert_ne!(
        dark["background"], found["background"],
        "there is a dark scheme"
    );
}

#[test]
fn texts_of_a_run_stay_texts() {
    let place = Place::new();
    let nasty = "runs/<img src=x onerror=alert(1)><script>alert(1)<!-- {{{{model}}}} &amp;";
    let format = format!("--run.dir-format={nasty}");
    place.run(&[&CHOLESKY[..], &[&format]].concat()).expect(0);
    let page = page(&place);
    let html = fs::read_to_string(&page).expect("a page");
    assert_eq!(html.matches("<img").count(), 0);
    assert_eq!(html.matches("<script").count(), 4, "as many as without");
    let (_, json) = html.split_once("id=\"model\">").expect("a model");
    let (json, _) = json.split_once("</script>").expect("its end");
    let json: Value = serde_json::from_str(json).expect("JSON");
    assert!(
        json["path"]
            .as_str()
            .expect("a path")
            .ends_with("<!-- {{model}} &amp;")
    );
    if browser::is_there() {
        let found = browser::used(&place, &page, &[]);
        assert!(
            found["title"]
                .as_str()
                .expect("a title")
                .contains("<script>alert(1)<!--")
        );
    }
}

#[test]
fn sums_are_those_of_the_records() {
    let place = Place::new();
    place.run(&FAULTY).expect(0);
    let run = place.only_run();
    let (model, lines) = (model(&place, &run), tasks(&run));
    assert_eq!(model["run"]["state"], "finished");
    assert_eq!(notes(&model), Vec::<&str>::new());
    assert_eq!(model["counts"]["submitted"], 40);
    assert_eq!(model["counts"]["succeeded"], 40);
    assert_eq!(model["counts"]["attempts"], lines.len());
    let failed = lines.iter().filter(|line| line["success"] == false).count();
    assert!(failed > 0, "faults were injected");
    assert_eq!(model["counts"]["retried"], failed);
    assert_eq!(model["failures"]["by_outcome"]["task-error"], failed);
    assert_eq!(
        model["failures"]["rows"].as_array().map(Vec::len),
        Some(failed)
    );
    let failures: Value =
        serde_json::from_str(&fs::read_to_string(run.join("failures.json")).expect("a file"))
            .expect("JSON");
    assert_eq!(model["injection"]["summary"], failures["summary"]);
    assert_eq!(model["injection"]["faults"], failures["faults"]);
    let sum = |of: &str, what: &str| -> u64 {
        let payloads = lines
            .iter()
            .filter_map(|line| line[of].as_array())
            .flatten();
        payloads.filter_map(|payload| payload[what].as_u64()).sum()
    };
    for of in ["inputs", "outputs"] {
        let ways = model["flow"][of].as_object().expect("ways");
        let bytes: u64 = ways.values().filter_map(|way| way["bytes"].as_u64()).sum();
        assert_eq!(bytes, sum(of, "bytes"), "{of}");
        let copies: u64 = ways.values().filter_map(|way| way["copies"].as_u64()).sum();
        assert_eq!(copies, sum(of, "copies"), "{of}");
    }
    expect_time(&model);
}

/// Fails unless parts sum to wall time × slots, and series to the counts.
#[track_caller]
fn expect_time(model: &Value) {
    let time = |name: &str| model["time"][name].as_f64().expect(name);
    let names = [
        "resolve_s",
        "prepare_s",
        "compute_s",
        "program_s",
        "store_s",
        "unknown_s",
        "idle_s",
    ];
    let parts: f64 = names.into_iter().map(time).sum();
    let elapsed = model["run"]["elapsed_s"].as_f64().expect("a time");
    let slots = model["run"]["slots"].as_f64().expect("a number");
    assert!(
        (parts - elapsed * slots).abs() < 1e-6,
        "{parts} is not {elapsed} × {slots}"
    );
    assert!(time("compute_s") > 0.0 && time("idle_s") > 0.0);
    let series = |name: &str| -> u64 {
        let values = model["timeline"][name].as_array().expect(name).iter();
        values.filter_map(Value::as_u64).sum()
    };
    for name in ["submitted", "succeeded"] {
        assert_eq!(Some(series(name)), model["counts"][name].as_u64(), "{name}");
    }
    let running = model["timeline"]["running"].as_array().expect("a list");
    let width = model["timeline"]["bin_s"].as_f64().expect("a width");
    let busy: f64 = running.iter().filter_map(Value::as_f64).sum::<f64>() * width;
    assert!(busy <= elapsed * slots + width * slots, "{busy}");
    let chain = model["critical_path_s"].as_f64().expect("a chain");
    let makespan = model["run"]["makespan_s"].as_f64().expect("a makespan");
    assert!(
        chain > 0.0 && chain <= makespan && makespan <= elapsed,
        "{chain} {makespan} {elapsed}"
    );
}

#[test]
fn the_graph_has_the_dependencies_of_the_records() {
    let place = Place::new();
    place.run(&CHOLESKY).expect(0);
    let run = place.only_run();
    let model = model(&place, &run);
    let lines = tasks(&run);
    let edges: usize = lines
        .iter()
        .filter_map(|line| Some(line["parent_task_ids"].as_array()?.len()))
        .sum();
    assert_eq!(model["graph"]["of"], "tasks");
    assert_eq!(
        model["graph"]["nodes"].as_array().map(Vec::len),
        Some(lines.len())
    );
    assert_eq!(model["graph"]["total_edges"], edges);
    expect_time(&model);
}

#[test]
fn a_large_run_is_sampled_and_its_sums_are_whole() {
    let place = Place::new();
    let args = [
        "synthetic",
        "--app.structure=bag",
        "--app.bag-max-running=200",
        "--app.task-count=50000",
        "--executor.max-threads=2",
        "--engine.task-record-file-name=none",
        "-q",
    ];
    place.run(&args).expect(0);
    let run = place.only_run();
    let model = model(&place, &run);
    assert_eq!(model["counts"]["succeeded"], 50_000);
    let one_of = model["attempts"]["one_of"].as_u64().expect("a number");
    let listed = model["attempts"]["task"].as_array().expect("a list");
    assert_eq!(one_of, 4);
    assert_eq!(listed.len(), 50_000 / 4);
    assert!(
        notes(&model)[0].contains("one task in 4"),
        "{:?}",
        notes(&model)
    );
    let loads = model["workers"][0]["load"].as_array().expect("a list");
    assert!(!loads.is_empty() && loads.len() <= 256, "{}", loads.len());
    let graph = &model["graph"];
    assert_eq!(
        (&graph["of"], &graph["nodes"][0]["tasks"]),
        (&"names".into(), &50_000.into())
    );
    expect_time(&model);
    let html = fs::metadata(page(&place)).expect("a page").len();
    assert!(html < 3 << 20, "{html} bytes");
}

/// A small run, and its directory.
pub(crate) fn small() -> (Place, PathBuf) {
    let place = Place::new();
    place.run(&CHOLESKY).expect(0);
    let run = place.only_run();
    (place, run)
}

#[test]
fn a_damaged_log_is_shown_up_to_the_damage() {
    let (place, run) = small();
    let whole = model(&place, &run);
    let log = run.join("events.log");
    let mut bytes = fs::read(&log).expect("a log");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&log, bytes).expect("write");
    let damaged = model(&place, &run);
    assert!(
        notes(&damaged)[0].starts_with("the log is damaged from byte "),
        "{:?}",
        notes(&damaged)
    );
    assert_eq!(damaged["run"]["state"], "killed");
    let counts = |model: &Value| model["counts"]["succeeded"].as_u64().expect("a number");
    assert!(counts(&damaged) > 0 && counts(&damaged) < counts(&whole));
    assert!(damaged["counts"]["open"].as_u64() > Some(0));
    let page = page(&place);
    if browser::is_there() {
        let found = browser::used(&place, &page, &[]);
        assert!(found["tables"]["open"]["rows"].as_u64() > Some(0));
    }
}

#[test]
fn an_unreadable_log_leaves_the_task_records() {
    let (place, run) = small();
    let whole = model(&place, &run);
    let log = run.join("events.log");
    let mut bytes = fs::read(&log).expect("a log");
    bytes[8] = 99;
    fs::write(&log, &bytes).expect("write");
    let other = model(&place, &run);
    assert!(
        notes(&other)[0].contains("has event log format 99"),
        "{:?}",
        notes(&other)
    );
    assert!(notes(&other)[1].starts_with("tasks and times are those of tasks.jsonl"));
    assert_eq!(other["run"]["state"], "unknown");
    assert_eq!(other["run"]["app"], "cholesky");
    assert!(
        other["run"]["slots"].as_u64() > Some(0),
        "workers that had tasks"
    );
    for same in ["counts", "flow", "critical_path_s", "config", "environment"] {
        assert_eq!(other[same], whole[same], "{same}");
    }
    for same in [
        "resolve_s",
        "prepare_s",
        "compute_s",
        "store_s",
        "queue_s",
        "deliver_s",
        "report_s",
    ] {
        assert_eq!(other["time"][same], whole["time"][same], "{same}");
    }
    assert_eq!(other["graph"]["total_edges"], whole["graph"]["total_edges"]);
    fs::write(&log, "something else entirely").expect("write");
    let no_log = model(&place, &run);
    assert!(
        notes(&no_log)[0].contains("is not an event log"),
        "{:?}",
        notes(&no_log)
    );
    let page = page(&place);
    if browser::is_there() {
        let found = browser::used(&place, &page, &[]);
        assert_eq!(found["sections"].as_array().map(Vec::len), Some(9));
    }
}

#[test]
fn without_any_records_there_is_the_configuration() {
    let (place, run) = small();
    let tasks = run.join("tasks.jsonl");
    let mut text = fs::read_to_string(&tasks).expect("records");
    let lines = text.lines().count();
    text.insert_str(0, "{\"task_id\": \n");
    fs::write(&tasks, text).expect("write");
    fs::remove_file(run.join("events.log")).expect("remove");
    let damaged = model(&place, &run);
    assert_eq!(damaged["counts"]["attempts"], lines);
    assert!(notes(&damaged).contains(&"damaged lines of tasks.jsonl were left out: 1"));
    fs::remove_file(&tasks).expect("remove");
    let none = model(&place, &run);
    assert_eq!(notes(&none), ["there is no events.log"]);
    assert_eq!(none["run"], Value::Null);
    assert!(
        none["config"]
            .as_str()
            .expect("a text")
            .contains("matrix_size = 120")
    );
    assert!(none["environment"]["hardware"].is_object());
    let page = page(&place);
    if browser::is_there() {
        let found = browser::used(&place, &page, &[]);
        assert_eq!(
            found["sections"],
            serde_json::json!(["failures", "configuration"])
        );
    }
}

#[test]
fn damage_beside_the_log_is_named() {
    let (place, run) = small();
    fs::write(run.join("environment.json"), "{\"hardware\": ").expect("write");
    fs::write(run.join("config.toml"), "[app]\nname = 'another'\n").expect("write");
    let model = model(&place, &run);
    let notes = notes(&model);
    assert!(
        notes
            .iter()
            .any(|note| note.starts_with("environment.json is damaged")),
        "{notes:?}"
    );
    assert!(
        notes
            .iter()
            .any(|note| note.starts_with("config.toml was changed since")),
        "{notes:?}"
    );
    assert_eq!(model["environment"], Value::Null);
    assert!(
        model["config"]
            .as_str()
            .expect("a text")
            .contains("cholesky"),
        "what the log says"
    );
}

#[test]
fn the_log_alone_is_enough() {
    let (place, run) = small();
    let log = place.path().join("alone.bin");
    fs::copy(run.join("events.log"), &log).expect("copy");
    let model = model(&place, &log);
    assert_eq!(model["run"]["state"], "finished");
    assert_eq!(
        notes(&model),
        ["only the log was named: the environment is not known"]
    );
    place.call(["report", "alone.bin"]).expect(0);
    assert!(place.names().contains(&"report.html".to_owned()));
}

#[test]
fn a_run_that_goes_on_is_shown_as_it_stands() {
    let place = Place::new();
    let args = [
        "run",
        "synthetic",
        "--app.structure=bag",
        "--app.bag-max-running=3",
        "--app.task-count=3",
        "--app.task-sleep=600",
        "--executor.max-threads=1",
        "-q",
    ];
    let running = place.start(args);
    let run = place.begun();
    let begun = |_| {
        let ended = place.call(["report", text(&run), "--json"]);
        thread::sleep(Duration::from_millis(5));
        (ended.code == Some(0))
            .then(|| ended.json())
            .filter(|model| {
                model["counts"]["submitted"] == 3 && model["failures"]["open"][0]["attempt"] == 0
            })
    };
    let live = (0..2_000).find_map(begun).expect("tasks are submitted");
    assert_eq!(live["run"]["state"], "going-on");
    assert_eq!(live["counts"]["open"], 3);
    running.signal(Signal::KILL);
    assert_eq!(running.end().signal, Some(9));
    let killed = model(&place, &run);
    assert_eq!(killed["run"]["state"], "killed");
    assert_eq!(killed["failures"]["open"].as_array().map(Vec::len), Some(3));
}

#[test]
fn what_is_no_run_is_said() {
    let place = Place::new();
    fs::create_dir(place.path().join("empty")).expect("make a directory");
    for command in ["report", "compare"] {
        let ended = place.call([command, "nowhere"]);
        ended
            .expect(5)
            .says("there is no run `nowhere`")
            .says("hint: name the directory of a run");
        let ended = place.call([command, "empty"]);
        ended
            .expect(5)
            .says("empty is no run directory: it has no events.log");
    }
    place.call(["compare"]).expect(2);
    let ended = place.call(["report", "empty", "--json", "-o", "x.html"]);
    ended.expect(2);
    assert_eq!(place.names(), ["empty"], "nothing is left");
}

#[test]
fn a_page_that_cannot_be_written_leaves_nothing() {
    let (place, run) = small();
    let ended = place.call(["report", text(&run), "-o", "missing/report.html"]);
    ended
        .expect(5)
        .says("write missing/report.html")
        .says("hint: --output names another place");
    let ended = place.call(["report", text(&run), "-o", "-"]);
    ended.expect(0);
    assert!(ended.stdout.starts_with("<!doctype html>"));
    assert_eq!(place.names(), ["runs"]);
}

#[test]
fn failures_of_guests_are_told_in_their_words() {
    let place = Place::new();
    let args = [
        probe(),
        "--app.action=upstream",
        "--executor.max-threads=1",
        "-q",
    ];
    place.run(&args).expect(0);
    let model = model(&place, &place.only_run());
    let counts = &model["counts"];
    assert_eq!(
        (&counts["failed"], &counts["upstream_failed"]),
        (&1.into(), &2.into())
    );
    let rows = model["failures"]["rows"].as_array().expect("rows");
    let line = &lines(&place.only_run().join("tasks.jsonl"));
    let failed = line
        .iter()
        .find(|line| line["outcome"] == "task-error")
        .expect("a failure");
    assert_eq!(rows[0]["message"], failed["exception"]["message"]);
    assert_eq!(rows[0]["kind"], failed["exception"]["type"]);
    assert_eq!(rows.len(), 3);
}
