//! Filters and transformers: equal results, identifiers that travel in place of bytes, and nothing left.

use crate::harness::{Ended, Place, lines, names, probe, run_dir, snapshot, tasks};
use serde_json::{Value, json};
use std::{
    fs, thread,
    time::{Duration, Instant},
};

#[path = "../../shared-fs/transform/tests/support/servers.rs"]
mod servers;
use servers::{Redis, S3, files_below};

const CHOLESKY: [&str; 5] = [
    "cholesky",
    "--app.matrix-size=192",
    "--app.block-size=64",
    "--kernels=guest",
    "--seed=5",
];
const WORDS: [&str; 5] = [
    "mapreduce",
    "--app.generate=true",
    "--app.generated-files=4",
    "--app.generated-words=3000",
    "--app.map-tasks=4",
];

/// A run that must succeed: its JSON summary.
#[track_caller]
fn succeeded(place: &Place, args: &[&str]) -> Value {
    let (ended, json) = place.json(args);
    ended.expect(0);
    json
}

/// What a run found out.
fn results(json: &Value) -> Value {
    json!([json["checks"], json["values"]])
}

/// Operations of a run: all of them, and how many of a kind on a side.
struct Operations(Vec<Value>);

impl Operations {
    fn of(json: &Value) -> Self {
        Self(lines(&run_dir(json).join("stats.jsonl")))
    }

    fn count(&self, side: &str, kind: &str) -> usize {
        let operations = self.0.iter();
        operations
            .filter(|operation| operation["side"] == side && operation["operation"] == kind)
            .count()
    }

    fn bytes(&self, side: &str, kind: &str) -> u64 {
        let operations = self.0.iter();
        operations
            .filter(|operation| operation["side"] == side && operation["operation"] == kind)
            .map(|operation| operation["bytes"].as_u64().expect("bytes"))
            .sum()
    }
}

/// Runs two apps on both executors, with and without a transformer: nothing but the way may differ.
#[track_caller]
fn agrees(transformer: &[&str]) {
    for app in [&CHOLESKY[..], &WORDS[..]] {
        let plain = Place::new();
        let expected = results(&succeeded(&plain, app));
        for executor in ["thread-pool", "native", "process-pool"] {
            let place = Place::new();
            let args = [app, &["--executor", executor], transformer].concat();
            let json = succeeded(&place, &args);
            assert_eq!(results(&json), expected, "{args:?}");
            assert_eq!(place.names(), ["runs"], "{args:?}");
        }
    }
}

fn s3_options(server: &S3, secret: &str) -> String {
    let options: serde_json::Map<String, Value> = server
        .options(secret)
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    Value::Object(options).to_string()
}

#[test]
fn results_are_equal_through_files() {
    for resolution in ["lazy", "eager", "async"] {
        agrees(&[
            "--transformer=file",
            "--transformer.file-dir=payloads",
            "--transformer.resolution",
            resolution,
        ]);
    }
}

#[test]
fn results_are_equal_through_shared_memory() {
    agrees(&["--transformer=shared-memory"]);
}

#[test]
fn results_are_equal_through_redis() {
    let Some(server) = Redis::start(None) else {
        return;
    };
    let url = server.url();
    agrees(&["--transformer=redis", "--transformer.url", &url]);
    let port = server.port.to_string();
    agrees(&[
        "--transformer=proxystore",
        "--transformer.connector.kind=redis",
        "--transformer.connector.options.hostname=127.0.0.1",
        "--transformer.connector.options.port",
        &port,
    ]);
    assert!(server.keys().is_empty());
}

#[test]
fn results_are_equal_through_object_stores() {
    let place = Place::new();
    let url = format!("file://{}/objects", place.path().display());
    agrees(&["--transformer=object-store", "--transformer.url", &url]);
    assert!(place.names().is_empty());
    let server = S3::start();
    let options = s3_options(&server, S3::SECRET);
    agrees(&[
        "--transformer=object-store",
        "--transformer.url=s3://payloads/prefix",
        "--transformer.options",
        &options,
        "--transformer.resolution=async",
    ]);
    assert!(server.objects().is_empty());
}

/// A large result, read by five tasks, two of which overwrite what they see of it.
const SCRIBBLE: [&str; 3] = [
    "--app.action=scribble",
    "--app.count=2",
    "--app.bytes=3000000",
];

#[test]
fn identifiers_travel_unresolved_and_the_driver_fetches_nothing_that_it_does_not_read() {
    let place = Place::new();
    // One thread: a reader may share the fetch of another.
    let alone = ["--executor=thread-pool", "--executor.max-threads=1"];
    let eager = [&alone[..], &["--transformer.resolution=eager"]].concat();
    for (executor_args, cache, fetched) in [
        (&alone[..], "--transformer.cache-size=0", 5),
        (&alone, "--transformer.cache-size=4", 1),
        (
            &["--executor=process-pool"][..],
            "--transformer.cache-size=0",
            5,
        ),
        (&eager, "--transformer.cache-size=0", 5),
    ] {
        let args = [
            &[probe()][..],
            &SCRIBBLE,
            &["--filter=object-size", "--filter.min-size=1000"],
            &["--transformer=file", "--transformer.file-dir=payloads"],
            &["--transformer.metrics=true", cache],
            executor_args,
        ]
        .concat();
        let json = succeeded(&place, &args);
        let operations = Operations::of(&json);
        assert_eq!(operations.count("worker", "put"), 1, "{args:?}");
        assert_eq!(operations.count("driver", "put"), 0, "{args:?}");
        assert_eq!(operations.count("driver", "get"), 0, "{args:?}");
        assert_eq!(operations.count("worker", "get"), fetched, "{args:?}");
        assert_eq!(operations.count("driver", "remove"), 1, "{args:?}");
        assert!(operations.bytes("worker", "put") >= 3_000_000);
        // Every operation belongs to a task where a task asked for it.
        let of_task = |operation: &&Value| operation["side"] == "worker";
        assert!(
            operations
                .0
                .iter()
                .filter(of_task)
                .all(|op| op["task"].is_u64())
        );
        let aggregated = fs::read_to_string(run_dir(&json).join("aggregated.json")).expect("read");
        let aggregated: Value = serde_json::from_str(&aggregated).expect("JSON");
        assert_eq!(aggregated["worker"]["get"]["count"], fetched);
        assert_eq!(aggregated["worker"]["get"]["failed"], 0);
        assert_eq!(place.names(), ["runs"]);
    }
}

#[test]
fn records_say_how_payloads_travelled_and_when() {
    let place = Place::new();
    let args = [
        &[probe()][..],
        &SCRIBBLE,
        &["--filter=object-size", "--filter.min-size=1000"],
        &["--transformer=file", "--transformer.file-dir=payloads"],
        &[
            "--transformer.resolution=eager",
            "--transformer.cache-size=0",
        ],
    ]
    .concat();
    let json = succeeded(&place, &args);
    let records = tasks(&run_dir(&json));
    let of = |name: &'static str| records.iter().filter(move |task| task["name"] == name);
    let produced = of("produce").next().expect("one");
    assert_eq!(produced["outputs"][0]["way"], "stored");
    assert_ne!(produced["inputs"][0]["way"], "stored");
    let (mut readers, mut most_copies) = (0, 0);
    for reader in of("add_up").chain(of("scribble")) {
        readers += 1;
        assert_eq!(reader["inputs"][0]["way"], "stored");
        let copies = reader["inputs"][0]["copies"].as_u64().expect("a number");
        most_copies = most_copies.max(copies);
        let execution = &reader["execution"];
        let time = |name: &str| execution[name].as_f64().expect("a time");
        let in_order = [
            "execution_start_time",
            "input_transform_start_time",
            "input_transform_end_time",
            "task_end_time",
            "result_transform_start_time",
            "result_transform_end_time",
            "execution_end_time",
        ];
        assert!(in_order.map(time).is_sorted(), "{execution}");
        assert!(time("input_transform_end_time") > time("input_transform_start_time"));
    }
    assert_eq!(readers, 5);
    // Received and placed; a reader that waited for the fetch of another made none.
    assert!(most_copies >= 2, "{most_copies}");
}

#[test]
fn filters_choose() {
    let place = Place::new();
    let put = |filter: &[&str]| {
        let transformer = ["--transformer=shared-memory", "--transformer.metrics=true"];
        let args = [&[probe()][..], &SCRIBBLE, &transformer, filter].concat();
        let json = succeeded(&place, &args);
        let operations = Operations::of(&json);
        operations.count("driver", "put") + operations.count("worker", "put")
    };
    let everything = put(&[]);
    assert_eq!(put(&["--filter=all"]), everything);
    assert_eq!(put(&["--filter=none"]), everything);
    assert_eq!(put(&["--filter=never"]), 0);
    assert_eq!(put(&["--filter=object-type"]), 0);
    assert_eq!(
        put(&["--filter=object-type", "--filter.patterns=."]),
        everything
    );
    let small = put(&["--filter=payload-size", "--filter.max-size=999"]);
    let numbers = put(&["--filter=object-type", "--filter.patterns=^u64$"]);
    assert!(small > 0 && small <= everything, "{small} of {everything}");
    assert!(numbers > 0 && numbers <= small, "{numbers} of {small}");
    // A filter alone does nothing.
    let args = [&[probe()][..], &SCRIBBLE, &["--filter=all"]].concat();
    assert!(
        !run_dir(&succeeded(&place, &args))
            .join("stats.jsonl")
            .exists()
    );
}

#[test]
fn only_what_the_run_wrote_is_removed() {
    let place = Place::new();
    place.write("payloads/somebody's", "kept");
    let args = [
        &CHOLESKY[..],
        &["--transformer=file", "--transformer.file-dir=payloads"],
    ]
    .concat();
    succeeded(&place, &args);
    assert_eq!(names(&place.path().join("payloads")), ["somebody's"]);
}

/// Waits until something holds.
#[track_caller]
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "{what} never came"
        );
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_interrupted_run_leaves_nothing() {
    let place = Place::new();
    let args = [
        "run",
        probe(),
        "--app.action=sleep",
        "--app.count=20",
        "--transformer=file",
        "--transformer.file-dir=payloads",
    ];
    let running = place.start(args);
    let directory = place.path().join("payloads");
    wait_until("a file", || files_below(&directory).len() >= 20);
    running.signal(rustix::process::Signal::INT);
    running.end().expect(130);
    assert_eq!(place.names(), ["runs"]);
}

/// Waits until a run has put something: the probe of the start is over by then.
#[track_caller]
fn wait_for_key(place: &Place, server: &Redis) {
    let runs = place.path().join("runs");
    wait_until("a key", || {
        !names(&runs).is_empty() && !server.keys().is_empty()
    });
}

/// A run over a server that fails once the run has begun to use it.
fn over_failing(server: &Redis, more: &[&str], count: &str) -> Ended {
    let place = Place::new();
    let url = server.url();
    let args = [
        &[
            "run",
            probe(),
            "--json",
            "--app.action=scribble",
            "--app.bytes=100000",
        ][..],
        &["--app.count", count],
        &["--filter=object-size", "--filter.min-size=1000"],
        &["--transformer=redis", "--transformer.url", &url],
        &["--transformer.cache-size=0", "--transformer.timeout-s=0.3"],
        more,
    ]
    .concat();
    let running = place.start(args);
    wait_for_key(&place, server);
    let _: () = server.ask(&["CLIENT", "PAUSE", "1500", "ALL"]);
    let ended = running.end();
    if ended.code == Some(0) {
        let records = tasks(&run_dir(&ended.json()));
        let given_up = records
            .iter()
            .filter(|task| task["outcome"] == "payload-error" && task["final"] == false);
        assert!(given_up.count() > 0, "no attempt met the pause");
    }
    ended
}

#[test]
fn a_store_that_hangs_fails_attempts_and_retries_mend_them() {
    let Some(server) = Redis::start(None) else {
        return;
    };
    let retries = ["--retries=100", "--retry-backoff-ms=20"];
    over_failing(&server, &retries, "1500").expect(0);
    let ended = over_failing(&server, &[], "100000");
    ended.expect(1);
    ended.says("payload-error");
    // The pause was over before the run gave up removing.
    assert!(server.keys().is_empty());
}

#[test]
fn a_store_that_dies_fails_the_run_with_a_message() {
    let Some(mut server) = Redis::start(None) else {
        return;
    };
    let place = Place::new();
    let url = server.url();
    let args = [
        &[
            "run",
            probe(),
            "--app.action=scribble",
            "--app.bytes=100000",
        ][..],
        &["--app.count=1000000"],
        &["--filter=object-size", "--filter.min-size=1000"],
        &["--transformer=redis", "--transformer.url", &url],
        &["--transformer.cache-size=0", "--transformer.timeout-s=2"],
    ]
    .concat();
    let running = place.start(args);
    wait_for_key(&place, &server);
    server.kill();
    let ended = running.end();
    ended.expect(1);
    ended.says("payload-error");
    ended.says(&url);
    ended.says("could not all be removed");
}

#[test]
fn arguments_travel_without_a_store_that_does_not_take_them() {
    let Some(mut server) = Redis::start(None) else {
        return;
    };
    let place = Place::new();
    let url = server.url();
    let args = [
        &[
            "run",
            probe(),
            "--app.action=churn",
            "--app.bytes=4",
            "--app.count=20000",
        ][..],
        // Arguments, and no results: those are `u32` too, but of other tasks.
        &["--filter=object-type", "--filter.patterns=^u32$"],
        &[
            "--transformer=redis",
            "--transformer.url",
            &url,
            "--transformer.timeout-s=2",
        ],
    ]
    .concat();
    let running = place.start(args);
    wait_for_key(&place, &server);
    server.kill();
    let ended = running.end();
    // What was in the store is lost, and said; nothing hangs.
    ended.expect(1);
    ended.says("payload-error");
}

/// The program refuses this before it does anything: the message.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let place = Place::new();
    let ended = place.run(&[&CHOLESKY[..], args].concat());
    ended.expect(2);
    assert_eq!(place.names(), [""; 0]);
    let text = ended.text();
    text[text.find("error: ").expect("an error")..].to_owned()
}

#[test]
fn what_cannot_work_is_refused_before_anything_runs() {
    let all = [
        &["--filter=object-type", "--filter.patterns=(open"][..],
        &[
            "--filter=object-size",
            "--filter.min-size=9",
            "--filter.max-size=8",
        ],
        &["--transformer=file"],
        &[
            "--transformer=file",
            "--transformer.file-dir=/proc/payloads",
        ],
        &["--transformer=redis"],
        &["--transformer=redis", "--transformer.url=http://x"],
        &[
            "--transformer=redis",
            "--transformer.host=127.0.0.1",
            "--transformer.port=1",
        ],
        &["--transformer=object-store", "--transformer.url=ftp://x/y"],
        &["--transformer=object-store", "--transformer.url=nowhere"],
        &[
            "--transformer=object-store",
            "--transformer.url=s3://b",
            "--transformer.options.bukket=x",
        ],
        &[
            "--transformer=proxystore",
            "--transformer.connector.kind=globus",
        ],
        &[
            "--transformer=proxystore",
            "--transformer.connector.kind=fiel",
        ],
        &[
            "--transformer=proxystore",
            "--transformer.connector.kind=local",
            "--transformer.async-resolve=true",
            "--transformer.extract-target=true",
        ],
        &["--transformer=fiel"],
    ];
    let refusals: Vec<String> = all
        .iter()
        .map(|args| format!("{}\n{}", args.join(" "), refused(args)))
        .collect();
    snapshot!(refusals.join("\n"));
}

#[test]
fn credentials_are_tried_before_anything_runs_and_never_shown() {
    let server = S3::start();
    let options = s3_options(&server, "wrong-secret");
    let text = refused(&[
        "--transformer=object-store",
        "--transformer.url=s3://payloads/prefix",
        "--transformer.options",
        &options,
    ]);
    assert!(text.contains("--transformer.url"), "{text}");
    assert!(!text.contains("wrong-secret"), "{text}");
    let Some(server) = Redis::start(Some("right-password")) else {
        return;
    };
    let url = format!("redis://:wrong-password@127.0.0.1:{}/", server.port);
    let text = refused(&["--transformer=redis", "--transformer.url", &url]);
    assert!(text.contains("--transformer.url"), "{text}");
    assert!(!text.contains("wrong-password"), "{text}");
}

#[test]
fn configurations_of_taps_work() {
    let place = Place::new();
    place.write(
        "config.toml",
        "[app]\nname = \"cholesky\"\nmatrix_size = 128\nblock_size = 64\n\
         [engine.filter]\nname = \"pickle-size\"\nmin_size = 100\n\
         [engine.transformer]\nname = \"proxystore\"\nmetrics = true\nextract_target = true\n\
         [engine.transformer.connector]\nkind = \"file\"\noptions = {store_dir = \"store\"}\n",
    );
    let json = succeeded(&place, &["-c", "config.toml"]);
    assert!(Operations::of(&json).count("worker", "put") > 0);
    assert_eq!(place.names(), ["config.toml", "runs"]);
    // What is saved is what ran.
    let saved = run_dir(&json).join("config.toml");
    let again = succeeded(&place, &["-c", saved.to_str().expect("UTF-8")]);
    assert_eq!(results(&again), results(&json));
}

#[test]
fn plugins_are_described() {
    let place = Place::new();
    let shown: Vec<String> = ["object-type", "file"]
        .iter()
        .map(|name| place.call(["describe", name]).expect(0).stdout.clone())
        .collect();
    snapshot!(shown.join("\n"));
    let json = place.call(["describe", "redis", "--json"]).expect(0).json();
    assert_eq!(json["kind"], "transformer");
    assert_eq!(json["fields"][0]["name"], "url");
    place.call(["describe", "rediss"]).expect(2);
}
