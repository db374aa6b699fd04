//! Payloads that change between their task and its reader are noticed, and made again.

use crate::harness::Place;

const RUN: [&str; 7] = [
    "cholesky",
    "--app.matrix-size=64",
    "--app.block-size=16",
    "--faults=corrupt-payload",
    "--faults.rate=0.3",
    "--faults.attempts=0",
    "--verify-payloads=true",
];

#[test]
fn damaged_payloads_are_made_again() {
    for executor in ["thread-pool", "process-pool"] {
        // In messages, and in shared memory.
        for inline in ["65536", "0"] {
            let place = Place::new();
            let executor = format!("--executor={executor}");
            let inline = format!("--engine.payload.inline-max-bytes={inline}");
            let more = [executor.as_str(), inline.as_str(), "--lineage=true"];
            let (ended, json) = place.json(&[&RUN[..], &more].concat());
            ended.expect(0);
            let faults = &json["faults"];
            let count = |fate: &str| faults["by_fate"][fate].as_u64().unwrap_or(0);
            assert!(count("recovered") > 0, "{executor} {inline}: {faults}");
            assert_eq!(count("propagated"), 0, "{executor} {inline}: {faults}");
            assert_ne!(json["tasks"]["recomputed"], 0, "{executor} {inline}");
        }
    }
}

#[test]
fn without_lineage_a_damaged_payload_fails_its_reader() {
    let place = Place::new();
    let (ended, json) = place.json(&RUN);
    ended.expect(1);
    let error = json["error"].as_str().unwrap_or_default();
    assert!(error.contains("its bytes changed: digest "), "{error}");
}

#[test]
fn what_the_driver_reads_damaged_from_a_store_is_made_again() {
    const WORDS: [&str; 11] = [
        "mapreduce",
        "--app.generate=true",
        "--app.generated-files=4",
        "--app.generated-words=1000",
        "--app.map-tasks=2",
        "--filter=all",
        "--transformer=file",
        "--transformer.file-dir=payloads",
        "--lineage=true",
        "--faults.indices=0",
        "--faults.attempts=0",
    ];
    let place = Place::new();
    let (ended, clean) = place.json(&WORDS);
    ended.expect(0);
    let broken = [
        "--faults=corrupt-payload",
        "--faults.tasks=summary_task",
        "--faults.tasks=reduce_task",
    ];
    let (ended, json) = place.json(&[&WORDS[..], &broken].concat());
    ended.expect(0);
    assert_eq!(json["values"], clean["values"]);
    let fates = &json["faults"]["by_fate"];
    assert!(
        fates["recovered"].as_u64() >= Some(1) && fates["silent"].is_null(),
        "{fates}"
    );
}
