//! `compare`: runs side by side.

use crate::{browser, harness::Place};
use serde_json::Value;
use std::fs;

/// Runs tasks that sleep, into `runs/NAME`.
#[track_caller]
fn run(place: &Place, name: &str, more: &[&str]) {
    let format = format!("--run.dir-format=runs/{name}");
    let args = [
        "synthetic",
        "--app.structure=bag",
        "--app.task-count=12",
        "--app.bag-max-running=12",
        "--app.task-sleep=0.005",
        "--app.task-data-bytes=2000",
        "-q",
        &format,
    ];
    place.run(&[&args[..], more].concat()).expect(0);
}

/// Three runs with one worker, three with two.
fn workers() -> Place {
    let place = Place::new();
    for seed in ["1", "2", "3"] {
        for workers in ["1", "2"] {
            let name = format!("w{workers}-{seed}");
            let threads = format!("--executor.max-threads={workers}");
            run(&place, &name, &["--seed", seed, &threads]);
        }
    }
    place
}

const WORKERS: [&str; 6] = [
    "runs/w1-1",
    "runs/w1-2",
    "runs/w1-3",
    "runs/w2-1",
    "runs/w2-2",
    "runs/w2-3",
];

#[track_caller]
fn compared(place: &Place, args: &[&str]) -> Value {
    place
        .call([&["compare", "--json"][..], args].concat())
        .expect(0)
        .json()
}

fn warnings(comparison: &Value) -> Vec<&str> {
    let warnings = comparison["warnings"].as_array().expect("warnings").iter();
    warnings
        .map(|warning| warning.as_str().expect("a text"))
        .collect()
}

#[test]
fn repeats_give_intervals_and_slots_are_counted() {
    let place = workers();
    let json = compared(&place, &WORKERS);
    assert_eq!(
        json["compared"],
        serde_json::json!(["engine.executor.max_threads"])
    );
    assert_eq!(warnings(&json), Vec::<&str>::new());
    let groups = json["groups"].as_array().expect("groups");
    assert_eq!(groups.len(), 2);
    for (group, slots) in groups.iter().zip([1.0, 2.0]) {
        assert_eq!(group["runs"].as_array().map(Vec::len), Some(3));
        assert_eq!(group["slots"].as_f64(), Some(slots));
        let of = |name: &str, what: &str| group["numbers"][name][what].as_f64().expect(name);
        assert!(of("makespan_s", "half_width") > 0.0);
        let (rate, per_slot) = (
            of("tasks_per_s", "mean"),
            of("tasks_per_s_per_slot", "mean"),
        );
        assert!((rate - per_slot * slots).abs() < 1e-6 * rate);
        let least = of("makespan_s", "least");
        assert!(least >= 12.0 * 0.005 / slots, "{least}");
        let shares: f64 = [
            "resolve", "prepare", "compute", "program", "store", "unknown", "idle",
        ]
        .iter()
        .map(|part| of(&format!("{part}_share"), "mean"))
        .sum();
        assert!((shares - 1.0).abs() < 1e-6, "{shares}");
    }
    let named = compared(&place, &[&WORKERS[..], &["--by", "max-threads"]].concat());
    assert_eq!(warnings(&named), Vec::<&str>::new());
}

#[test]
fn tables_and_csv_have_a_line_for_each_configuration() {
    let place = workers();
    let ended = place.call([&["compare"], &WORKERS[..]].concat());
    ended.expect(0);
    assert_eq!(ended.stderr, "");
    for part in [
        "max_threads 1",
        "max_threads 2",
        "makespan s",
        "±",
        "runs/w2-3",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.text());
    }
    let csv = place.call([&["compare", "--csv"], &WORKERS[..]].concat());
    csv.expect(0);
    let mut lines = csv.stdout.lines();
    let head = lines.next().expect("a heading");
    assert_eq!(
        head,
        "group,configuration,app,executor,slots,number,repeats,mean,half_width_95,least,most"
    );
    let makespans: Vec<&str> = lines.filter(|line| line.contains(",makespan_s,")).collect();
    assert_eq!(makespans.len(), 2);
    assert!(makespans[1].starts_with(
        "2,\"synthetic, thread-pool, max_threads 2\",synthetic,thread-pool,2,makespan_s,3,"
    ));
    place
        .call(["compare", "--csv", "--json", "runs/w1-1"])
        .expect(2);
}

#[test]
fn more_differences_than_are_compared_are_warned_of() {
    let place = Place::new();
    run(&place, "one", &["--executor.max-threads=1"]);
    run(&place, "two", &["--executor.max-threads=2", "--retries=2"]);
    let runs = ["runs/one", "runs/two"];
    let json = compared(&place, &runs);
    let first = warnings(&json)[0];
    assert_eq!(
        first,
        "the configurations differ in more than one thing (engine.executor.max_threads, engine.retries): name what \
         is compared with --by"
    );
    let by = compared(&place, &[&runs[..], &["--by", "max_threads"]].concat());
    assert_eq!(
        warnings(&by)[0],
        "besides what is compared, the configurations differ in engine.retries"
    );
    let both = ["--by", "engine.executor.max_threads", "--by", "retries"];
    let both = compared(&place, &[&runs[..], &both].concat());
    let left = "not every configuration was repeated: those that were not have no interval";
    assert_eq!(warnings(&both), [left]);
    let same = compared(&place, &[&runs[..], &both_and("seed")].concat());
    assert!(
        warnings(&same).contains(&"`seed` is the same in all runs"),
        "{same}"
    );
}

fn both_and(name: &str) -> [&str; 6] {
    ["--by", "max_threads", "--by", "retries", "--by", name]
}

#[test]
fn another_machine_and_a_run_that_did_not_end_are_warned_of() {
    let place = Place::new();
    for name in ["one", "two", "three"] {
        run(&place, name, &["--executor.max-threads=2"]);
    }
    let path = place.path().join("runs/two/environment.json");
    let text = fs::read_to_string(&path).expect("a file");
    let mut environment: Value = serde_json::from_str(&text).expect("JSON");
    environment["hardware"]["cpu_model"] = "Another CPU".into();
    fs::write(&path, environment.to_string()).expect("write");
    let log = place.path().join("runs/three/events.log");
    let bytes = fs::read(&log).expect("a log");
    fs::write(&log, &bytes[..bytes.len() / 2]).expect("write");
    let json = compared(&place, &["runs/one", "runs/two", "runs/three"]);
    let warnings = warnings(&json);
    assert!(
        warnings[0].starts_with("the CPU is not the same in all runs: "),
        "{warnings:?}"
    );
    assert!(
        warnings
            .iter()
            .any(|warning| warning.starts_with("runs/three: the run is killed, not finished")),
        "{warnings:?}"
    );
    assert_eq!(json["groups"][0]["numbers"]["makespan_s"]["repeats"], 2);
    assert_eq!(json["runs"][2]["counts"], false);
}

#[test]
fn a_browser_shows_the_three_figures() {
    if !browser::is_there() {
        return;
    }
    let place = workers();
    run(
        &place,
        "large",
        &["--executor.max-threads=2", "--app.task-data-bytes=400000"],
    );
    let args = [&["compare", "-o", "page.html", "runs/large"], &WORKERS[..]].concat();
    place.call(args).expect(0);
    let found = browser::used(&place, &place.path().join("page.html"), &[]);
    let charts = [
        "makespan-by-app",
        "throughput-by-workers",
        "per-slot-by-workers",
        "time-by-size",
    ];
    browser::expect_charts(&found, &charts);
    assert_eq!(
        found["sections"],
        serde_json::json!(["numbers", "figures", "phases", "differences", "runs"])
    );
    assert_eq!(found["tables"]["rates"]["rows"], 3);
    assert_eq!(found["tables"]["all-runs"]["rows"], 7);
}
