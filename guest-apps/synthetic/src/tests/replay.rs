//! Workflows that ran elsewhere: what is read of them, what is refused, and how they run.

use std::io::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};
use taps::Report;
use taps::testing::Local;

use crate::APP;
use crate::workflow::Workflow;

/// An instance of three tasks in a row.
fn chain() -> Value {
    json!({
        "name": "chain",
        "schemaVersion": "1.6",
        "workflow": {
            "specification": {
                "tasks": [
                    { "name": "c", "id": "c", "parents": ["b"], "children": [], "inputFiles": ["y", "lost"], "outputFiles": ["z"] },
                    { "name": "a", "id": "a", "parents": [], "children": ["b"], "inputFiles": ["in"], "outputFiles": ["x", "w"] },
                    { "name": "b", "id": "b", "parents": ["a"], "children": ["c"], "inputFiles": ["x"], "outputFiles": ["y"] },
                ],
                "files": [
                    { "id": "in", "sizeInBytes": 7_000 },
                    { "id": "lost", "sizeInBytes": 300 },
                    { "id": "w", "sizeInBytes": 5_000 },
                    { "id": "x", "sizeInBytes": 3_000 },
                    { "id": "y", "sizeInBytes": 2_000 },
                    { "id": "z", "sizeInBytes": 1_000 },
                ],
                "metrics": { "numberOfTasks": 3 },
            },
            "execution": {
                "makespanInSeconds": 6.0,
                "executedAt": "2026-01-01T00:00:00Z",
                "tasks": [
                    { "id": "a", "runtimeInSeconds": 1.5 },
                    { "id": "b", "runtimeInSeconds": 0 },
                    { "id": "c", "runtimeInSeconds": 2.5 },
                ],
            },
        },
    })
}

/// Runs an instance with these fields.
fn replay(instance: &Value, fields: &Value) -> taps::Result<Report> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(instance.to_string().as_bytes()).unwrap();
    let mut config = json!({ "structure": "replay", "instance": file.path() });
    let object = config.as_object_mut().unwrap();
    object.extend(fields.as_object().unwrap().clone());
    Local::new().seed(3).run_app(&APP, &config)
}

fn checked(report: &Report, name: &str) -> Value {
    let check = report.checks.iter().find(|check| check.name == name);
    check.unwrap().value.clone()
}

fn told(report: &Report, name: &str) -> Value {
    let value = report.values.iter().find(|(known, _)| known == name);
    value.unwrap().1.clone()
}

#[test]
fn a_chain_is_read() {
    let workflow = Workflow::parse(chain().to_string().as_bytes()).unwrap();
    assert_eq!(workflow.order, [1, 2, 0]);
    assert_eq!(workflow.tasks[0].parents, [2]);
    assert_eq!(workflow.tasks[1].writes, [3, 2]);
    assert_eq!(workflow.tasks[2].reads, [3]);
    let seconds: Vec<f64> = workflow.tasks.iter().map(|task| task.seconds).collect();
    assert_eq!(seconds, [2.5, 1.5, 0.0]);
}

#[test]
fn bytes_and_times_are_scaled() {
    let fields = json!({ "kernel": "empty", "replay_data_scale": 0.5 });
    let report = replay(&chain(), &fields).unwrap();
    assert!(report.passed(), "{report:?}");
    assert_eq!(checked(&report, "tasks completed"), 3);
    assert_eq!(checked(&report, "edges verified"), 2);
    assert_eq!(checked(&report, "bytes between tasks"), 1_500 + 1_000);
    assert_eq!(told(&report, "external_bytes"), 7_300.0);
    assert_eq!(told(&report, "time_scale"), 0.5);

    let fields = json!({ "kernel": "empty", "replay_data_scale": 1, "replay_max_bytes": 400 });
    let report = replay(&chain(), &fields).unwrap();
    assert!(report.passed(), "{report:?}");
    assert_eq!(checked(&report, "bytes between tasks"), 150 + 400);

    let fields = json!({ "kernel": "empty", "replay_data_scale": 0.0001 });
    let report = replay(&chain(), &fields).unwrap();
    assert!(report.passed(), "{report:?}");
    assert_eq!(checked(&report, "bytes between tasks"), 2, "a byte of each");
}

#[test]
fn tasks_last_as_long_as_asked() {
    for kernel in ["sleep", "compute"] {
        let start = std::time::Instant::now();
        let fields = json!({ "kernel": kernel, "replay_time_scale": 0.01 });
        assert!(replay(&chain(), &fields).unwrap().passed());
        assert!(start.elapsed().as_secs_f64() >= 0.04, "{kernel}");
    }
}

#[test]
fn a_workflow_of_our_own_serves_those_who_name_none() {
    for seed in 0..5 {
        let config = json!({ "structure": "replay", "kernel": "empty" });
        let local = Local::new().seed(seed).shuffled(seed);
        let report = local.run_app(&APP, &config).unwrap();
        assert!(report.passed(), "{report:?}");
        assert_eq!(checked(&report, "tasks completed"), 17);
        assert_eq!(checked(&report, "edges verified"), 1 + 6 + 6 + 6 + 2);
        assert!(checked(&report, "bytes between tasks").as_u64() > Some(10_000));
    }
}

#[test]
fn content_may_be_plain_and_sizes_nothing() {
    for fields in [
        json!({ "content": "plain", "verify": false }),
        json!({ "verify": false }),
        json!({ "replay_data_scale": 0 }),
        json!({ "replay_max_bytes": 0 }),
        json!({ "replay_data_scale": 0.01 }),
    ] {
        let fields = super::steps::with(&fields, &json!({ "kernel": "empty" }));
        let report = replay(&chain(), &fields).unwrap();
        assert!(report.passed(), "{fields}: {report:?}");
    }
}

#[test]
fn one_side_of_a_dependency_is_enough() {
    let mut instance = chain();
    instance["workflow"]["specification"]["tasks"][0]["parents"] = json!([]);
    instance["workflow"]["specification"]["tasks"][1]["children"] = json!([]);
    let report = replay(&instance, &json!({ "kernel": "empty" })).unwrap();
    assert!(report.passed(), "{report:?}");
    assert_eq!(checked(&report, "edges verified"), 2);
}

#[test]
fn without_execution_and_files_only_the_graph_remains() {
    let mut instance = chain();
    instance["schemaVersion"] = json!("1.5");
    instance["workflow"]
        .as_object_mut()
        .unwrap()
        .remove("execution");
    let specification = instance["workflow"]["specification"].as_object_mut();
    specification.unwrap().remove("files");
    let report = replay(&instance, &json!({})).unwrap();
    assert!(report.passed(), "{report:?}");
    assert_eq!(checked(&report, "edges verified"), 2);
    assert_eq!(checked(&report, "bytes between tasks"), 0);
}

/// An instance with one place changed, and what is said of it.
fn refused(place: &str, value: Value, expected: &str) {
    let mut instance = chain();
    *instance.pointer_mut(place).unwrap() = value;
    let error = Workflow::parse(instance.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.to_driver_error().field.as_deref(), Some("instance"));
    assert_eq!(error.to_string(), format!("instance = {expected}"));
}

#[test]
fn what_is_wrong_is_named() {
    refused(
        "/schemaVersion",
        json!("1.4"),
        r#"schemaVersion = "1.4": expected 1.5 or 1.6"#,
    );
    refused(
        "/schemaVersion",
        json!(1.5),
        "schemaVersion = 1.5: expected 1.5 or 1.6",
    );
    let tasks = "/workflow/specification/tasks";
    refused(
        tasks,
        json!([]),
        "workflow.specification.tasks = []: expected at least one task",
    );
    refused(
        &format!("{tasks}/0/parents/0"),
        json!("nobody"),
        r#"workflow.specification.tasks[0].parents[0] = "nobody": expected the id of a task of the specification"#,
    );
    refused(
        &format!("{tasks}/1/children/0"),
        json!("nobody"),
        r#"workflow.specification.tasks[1].children[0] = "nobody": expected the id of a task of the specification"#,
    );
    refused(
        &format!("{tasks}/0/inputFiles/1"),
        json!("other"),
        r#"workflow.specification.tasks[0].inputFiles[1] = "other": expected the id of a file of the specification"#,
    );
    refused(
        &format!("{tasks}/1/parents"),
        json!(["c"]),
        r#"workflow.specification.tasks[0] = "c": expected parents that do not wait for it; the tasks form a cycle"#,
    );
    refused(
        &format!("{tasks}/2/id"),
        json!("a"),
        r#"workflow.specification.tasks[2].id = "a": expected a name of its own; workflow.specification.tasks[1] has it already"#,
    );
    refused(
        "/workflow/specification/files/1/id",
        json!("in"),
        r#"workflow.specification.files[1].id = "in": expected a name of its own; workflow.specification.files[0] has it already"#,
    );
    refused(
        "/workflow/specification/files/0/sizeInBytes",
        json!(-1),
        "workflow.specification.files[0].sizeInBytes = -1.0: expected a whole number of bytes, not negative",
    );
    refused(
        "/workflow/specification/metrics/numberOfTasks",
        json!(4),
        "workflow.specification.metrics.numberOfTasks = 4.0: expected 3, as many as are listed",
    );
    let runs = "/workflow/execution/tasks";
    refused(
        &format!("{runs}/1/id"),
        json!("nobody"),
        r#"workflow.execution.tasks[1].id = "nobody": expected the id of a task of the specification"#,
    );
    refused(
        &format!("{runs}/1/id"),
        json!("a"),
        r#"workflow.execution.tasks[1].id = "a": expected each task once"#,
    );
    refused(
        &format!("{runs}/0/runtimeInSeconds"),
        json!(-2),
        "workflow.execution.tasks[0].runtimeInSeconds = -2.0: expected a number of seconds, not negative",
    );
}

#[test]
fn what_is_no_instance_is_refused() {
    let message = |text: &[u8]| Workflow::parse(text).unwrap_err().to_string();
    let expected = "expected a workflow in WfFormat 1.5 or 1.6, which is JSON";
    assert_eq!(
        message(b"tasks:"),
        format!("instance = expected ident at line 1 column 2: {expected}")
    );
    assert_eq!(
        message(br#"{ "schemaVersion": "1.5", "name": "x" }"#),
        format!("instance = missing field `workflow` at line 1 column 39: {expected}")
    );
    assert_eq!(
        message(b"{}"),
        "instance = schemaVersion = null: expected 1.5 or 1.6"
    );
    let deep = "[".repeat(100_000);
    assert!(message(deep.as_bytes()).contains("recursion limit"));
}

#[test]
fn real_instances_are_replayed() {
    let Some(data) = taps::testing::data() else {
        return;
    };
    let counts = [
        ("bacass-dirt02-001.json", 11, 14),
        ("blast-chameleon-small-001.json", 43, 120),
        ("epigenomics-chameleon-hep-1seq-50k-001.json", 73, 88),
        ("helloworld-forkjoin-10-chameleon.json", 10, 16),
        ("montage-chameleon-2mass-005d-001.json", 58, 114),
        ("srasearch-chameleon-10a-001.json", 22, 30),
    ];
    for (name, tasks, edges) in counts {
        let file = data.join("wfcommons").join(name);
        let config = json!({ "structure": "replay", "instance": file, "kernel": "empty" });
        let report = Local::new().run_app(&APP, &config).unwrap();
        assert!(report.passed(), "{name}: {report:?}");
        assert_eq!(checked(&report, "tasks completed"), tasks, "{name}");
        assert_eq!(checked(&report, "edges verified"), edges, "{name}");
    }
}

/// Any JSON, a few levels deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[abcxyz]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,3}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Replaces the number-th value of a document, counted as they come.
fn replace(document: &mut Value, number: &mut usize, with: &Value) {
    if *number == 0 {
        *document = with.clone();
    }
    *number = number.wrapping_sub(1);
    match document {
        Value::Array(list) => list.iter_mut().for_each(|it| replace(it, number, with)),
        Value::Object(map) => map.values_mut().for_each(|it| replace(it, number, with)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn bytes_are_read_or_refused(text in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Workflow::parse(&text).is_err());
    }

    #[test]
    fn changed_instances_are_read_or_refused_and_what_is_read_runs(
        place in 0_usize..90,
        value in any_json(),
    ) {
        let mut instance = chain();
        replace(&mut instance, &mut { place }, &value);
        let text = instance.to_string();
        match Workflow::parse(text.as_bytes()) {
            Err(error) => {
                let field = error.to_driver_error().field;
                prop_assert_eq!(field.as_deref(), Some("instance"));
            }
            Ok(workflow) => {
                prop_assert_eq!(workflow.order.len(), workflow.tasks.len());
                let report = replay(&instance, &json!({ "kernel": "empty" })).unwrap();
                prop_assert!(report.passed(), "{}: {:?}", text, report);
            }
        }
    }

    #[test]
    fn cut_and_flipped_text_does_no_harm(cut in 0_usize..2_000, at in 0_usize..2_000, bit in 0_u8..8) {
        let mut text = chain().to_string().into_bytes();
        let length = text.len();
        text[at % length] ^= 1 << bit;
        text.truncate(length - cut % length);
        // Either way, without a panic.
        let _ = Workflow::parse(&text);
    }

    #[test]
    fn random_graphs_run_in_order(
        edges in prop::collection::vec((0_usize..12, 0_usize..12), 0..40),
        shared in prop::collection::vec((0_usize..12, 0_usize..6, any::<bool>()), 0..30),
        seed: u64,
    ) {
        let instance = graph(&edges, &shared);
        let cyclic = edges.iter().any(|(parent, child)| parent == child);
        match Workflow::parse(instance.to_string().as_bytes()) {
            Ok(workflow) => {
                prop_assert!(!cyclic);
                let place = |task: u32| workflow.order.iter().position(|at| *at == task);
                for (parent, child) in &edges {
                    prop_assert!(place(*parent as u32) < place(*child as u32));
                }
                let fields = json!({ "kernel": "empty", "replay_data_scale": seed % 5 });
                let report = replay(&instance, &fields).unwrap();
                prop_assert!(report.passed(), "{:?}", report);
            }
            Err(error) => prop_assert!(error.to_string().contains("cycle"), "{}", error),
        }
    }
}

/// An instance of twelve tasks with these edges and these uses of six files.
fn graph(edges: &[(usize, usize)], shared: &[(usize, usize, bool)]) -> Value {
    let tasks = (0..12).map(|task| {
        let parents = edges.iter().filter(|edge| edge.1 == task);
        let children = edges.iter().filter(|edge| edge.0 == task);
        let files = |wanted: bool| {
            let used = shared
                .iter()
                .filter(|use_| use_.0 == task && use_.2 == wanted);
            used.map(|use_| format!("f{}", use_.1)).collect::<Vec<_>>()
        };
        json!({
            "name": "t",
            "id": format!("t{task}"),
            "parents": parents.map(|edge| format!("t{}", edge.0)).collect::<Vec<_>>(),
            "children": children.map(|edge| format!("t{}", edge.1)).collect::<Vec<_>>(),
            "inputFiles": files(false),
            "outputFiles": files(true),
        })
    });
    let files = (0..6).map(|file| json!({ "id": format!("f{file}"), "sizeInBytes": file * 100 }));
    json!({
        "name": "graph",
        "schemaVersion": "1.5",
        "workflow": { "specification": {
            "tasks": tasks.collect::<Vec<_>>(),
            "files": files.collect::<Vec<_>>(),
        } },
    })
}
