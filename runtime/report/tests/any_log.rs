//! Logs of any content: whatever is in them, there is a model, its sums agree, and its page is whole.

#[path = "../../records/tests/it/support/mod.rs"]
mod support;

use proptest::{collection::vec, prelude::*};
use support::{
    any_event, attempt, attempt_started, finished, joined, report, started, submitted, whole_task,
    write_log,
};
use taps_engine::{Failure, OutcomeKind};
use taps_records::{EVENTS_FILE, LogEvent};
use taps_report::{Comparison, Model};

/// The model of a run with these events.
fn model(events: &[LogEvent]) -> Model {
    let directory = tempfile::tempdir().expect("temporary directory");
    let log = directory.path().join(EVENTS_FILE);
    write_log(&log, events);
    taps_report::read(directory.path()).expect("a model")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_log_gives_a_sound_page(
        events in vec(any_event(), 0..60),
        ids in vec((0..6_u64, 0..4_u32), 60),
    ) {
        // Few tasks and attempts, so that events meet.
        let events: Vec<_> = events.into_iter().zip(ids).map(support::aimed).collect();
        let model = model(&[&[started(1)], &events[..]].concat());
        let run = model.run.as_ref().expect("it has a beginning");
        let submissions = events.iter().filter(|event| matches!(event, LogEvent::Submitted { .. })).count();
        prop_assert_eq!(model.counts.submitted, submissions as u64);
        let time = model.time;
        let parts = [time.resolve_s, time.prepare_s, time.compute_s, time.program_s, time.store_s, time.unknown_s];
        prop_assert!(parts.iter().all(|part| part.is_finite() && *part >= 0.0), "{:?}", parts);
        prop_assert!(time.idle_s >= 0.0 && run.elapsed_s >= 0.0);
        prop_assert_eq!(model.timeline.succeeded.iter().sum::<u64>(), model.counts.succeeded);
        prop_assert!(model.timeline.running.len() <= 1_024);
        let attempts = &model.attempts;
        for (at, name) in attempts.name.iter().enumerate() {
            prop_assert!((*name as usize) < model.names.len());
            prop_assert!((attempts.outcome[at] as usize) < attempts.outcomes.len());
        }
        for (from, to, _) in &model.graph.edges {
            prop_assert!((*from.max(to) as usize) < model.graph.nodes.len());
        }
        let page = taps_report::page(&model);
        let (_, json) = page.split_once("id=\"model\">").expect("a model");
        let (json, _) = json.split_once("</script>").expect("its end");
        let value: serde_json::Value = serde_json::from_str(json).expect("JSON");
        prop_assert_eq!(value["counts"]["submitted"].as_u64(), Some(model.counts.submitted));
    }
}

#[test]
fn parts_of_an_attempt_are_told_apart() {
    // Taken at 1 ms, ready at 2 ms, done at 5 ms, published at 6 ms.
    let mut told = report(0, 0, 1_000_000);
    told.timeline.task_start = 2_000_000;
    told.timeline.task_end = 5_000_000;
    told.timeline.finished = 6_000_000;
    told.timeline.inputs = [1_250_000, 1_500_000];
    let model = model(&[
        started(1),
        joined(0, "node"),
        submitted(0, "first", &[], 100_000),
        attempt_started(0, 0, 0, 400_000),
        finished(told, 6_500_000, false),
    ]);
    let time = model.time;
    let micros = |seconds: f64| (seconds * 1e6).round() as u64;
    let parts = [
        time.resolve_s,
        time.prepare_s,
        time.compute_s,
        time.store_s,
        time.unknown_s,
    ]
    .map(micros);
    assert_eq!(parts, [250, 750, 3_000, 1_000, 0]);
    let waits = [time.parents_s, time.queue_s, time.deliver_s, time.report_s].map(micros);
    assert_eq!(waits, [0, 300, 600, 500]);
    // Two slots for 6.5 ms.
    assert_eq!([time.slot_s, time.idle_s].map(micros), [13_000, 8_000]);
    assert_eq!(model.critical_path_s.map(micros), Some(3_000));
    assert_eq!(
        model.run.expect("a run").makespan_s.map(micros),
        Some(6_400)
    );
}

#[test]
fn waiting_for_parents_is_not_queueing() {
    let model = model(&[
        started(1),
        submitted(0, "parent", &[], 0),
        submitted(1, "child", &[0], 0),
        attempt_started(0, 0, 0, 1_000_000),
        finished(report(0, 0, 1_000_000), 3_000_000, false),
        attempt_started(1, 0, 0, 7_000_000),
        finished(report(1, 0, 7_000_000), 8_000_000, false),
    ]);
    assert!(
        (model.time.parents_s - 0.003).abs() < 1e-9,
        "{:?}",
        model.time
    );
    assert!(
        (model.time.queue_s - (0.001 + 0.004)).abs() < 1e-9,
        "{:?}",
        model.time
    );
    assert_eq!(model.graph.edges, [(0, 1, 1)]);
}

#[test]
fn a_lost_attempt_counts_as_unknown_and_as_lost() {
    let lost = Failure::new(OutcomeKind::WorkerLost, "gone </script>");
    let mut reported = report(0, 0, 0);
    reported.timeline = taps_engine::Timeline::default();
    reported.result = Err(lost);
    let [_, begun, ended] = whole_task(0, 10_000_000);
    let LogEvent::AttemptStarted { worker, .. } = begun else {
        panic!("an attempt begins");
    };
    let second = LogEvent::AttemptStarted {
        id: attempt(0, 1),
        worker,
        generation: 0,
        fault: None,
        time_ns: 10_000_100,
    };
    let LogEvent::AttemptFinished { report: good, .. } = ended else {
        panic!("an attempt ends");
    };
    let mut good = *good;
    good.id = attempt(0, 1);
    let model = model(&[
        started(1),
        submitted(0, "noop", &[], 0),
        attempt_started(0, 0, 0, 1_000_000),
        LogEvent::WorkerLost {
            worker: worker.expect("a worker"),
            reason: "signal 9".into(),
            time_ns: 4_000_000,
        },
        finished(reported, 4_000_000, true),
        second,
        finished(good, 10_010_000, false),
    ]);
    assert!(
        (model.time.unknown_s - 0.003).abs() < 1e-9,
        "{:?}",
        model.time
    );
    assert!((model.time.lost_s - 0.003).abs() < 1e-9, "{:?}", model.time);
    assert_eq!(
        (
            model.counts.retried,
            model.counts.attempts,
            model.counts.workers_lost
        ),
        (1, 2, 1)
    );
    assert_eq!(model.attempts.tries, [1, 2]);
    assert_eq!(model.workers[0].losses, 1);
    let row = &model.failures.rows[0];
    assert!(
        row.retried && row.message == "gone </script>" && row.outcome == "worker-lost",
        "{row:?}"
    );
}

#[test]
fn runs_of_one_configuration_are_repeats_whatever_their_seed() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut paths = Vec::new();
    for (seed, retries) in [(1, 0), (2, 0), (3, 5)] {
        let path = directory.path().join(format!("run-{seed}"));
        std::fs::create_dir(&path).expect("make a directory");
        let LogEvent::RunStarted(mut begun) = started(1) else {
            panic!("a run begins");
        };
        begun.config_toml =
            format!("[app]\nname = \"a\"\n[engine]\nretries = {retries}\n[run]\nseed = {seed}\n");
        let mut events = vec![LogEvent::RunStarted(begun)];
        events.extend(whole_task(0, 1_000));
        events.push(LogEvent::RunFinished {
            ok: true,
            exit_code: 0,
            report: None,
            error: None,
            counts: taps_records::TaskCounts::default(),
            time_ns: 9_000_000,
        });
        write_log(&path.join(EVENTS_FILE), &events);
        paths.push(path);
    }
    let comparison = Comparison::read(&paths, &[]).expect("a comparison");
    let sizes: Vec<usize> = comparison
        .groups
        .iter()
        .map(|group| group.runs.len())
        .collect();
    assert_eq!(
        (sizes, &comparison.compared[..]),
        (vec![2, 1], &["engine.retries".to_owned()][..])
    );
    assert_eq!(comparison.groups[0].numbers["tasks"].half_width, Some(0.0));
}
