//! Federated learning: the same on every executor, and with the accuracy that it should have.

use crate::harness::{Place, data, names, run_dir, tasks};
use serde_json::Value;
use std::{fs, path::Path};

const SMALL: [&str; 6] = [
    "fedlearn",
    "--app.clients=4",
    "--app.rounds=2",
    "--app.participation=0.75",
    "--app.samples=600",
    "--app.test-samples=100",
];

const EXECUTIONS: [&[&str]; 4] = [
    &["--executor.max-threads=1"],
    &["--executor.max-threads=2"],
    &["--executor=process-pool", "--executor.max-processes=2"],
    &["--executor=native"],
];

#[track_caller]
fn run(place: &Place, args: &[&str]) -> Value {
    let (ended, json) = place.json(args);
    ended.expect(0);
    json
}

/// A table of a run.
#[track_caller]
fn table(json: &Value, name: &str) -> String {
    fs::read_to_string(run_dir(json).join("data").join(name)).expect("a table")
}

/// A column of `rounds.csv`.
#[track_caller]
fn column(json: &Value, index: usize) -> Vec<f64> {
    let table = table(json, "rounds.csv");
    let number = |line: &str| {
        line.split(',')
            .nth(index)
            .and_then(|field| field.parse().ok())
    };
    table
        .lines()
        .skip(1)
        .map(|line| number(line).expect("a number"))
        .collect()
}

#[test]
fn equal_seeds_learn_the_same_on_every_executor() {
    let place = Place::new();
    let all: Vec<Value> = EXECUTIONS
        .iter()
        .map(|execution| run(&place, &[&SMALL, *execution].concat()))
        .collect();
    for (json, execution) in all.iter().zip(EXECUTIONS) {
        assert_eq!(json["values"], all[0]["values"], "{execution:?}");
        for name in ["rounds.csv", "training.csv"] {
            assert_eq!(table(json, name), table(&all[0], name), "{execution:?}");
        }
        let losses = column(json, 3);
        assert!(losses[1] < losses[0], "{losses:?}");
    }
    let files = names(&run_dir(&all[0]).join("data"));
    assert_eq!(files, ["rounds.csv", "rounds.png", "training.csv"]);
    let log = fs::read_to_string(run_dir(&all[0]).join("log.txt")).expect("log.txt");
    assert!(
        log.contains("(2/2) Finished testing with test_loss="),
        "{log}"
    );
}

/// Kernels of the guest round otherwise, and no more than that.
#[test]
fn kernels_of_the_guest_learn_nearly_the_same() {
    let place = Place::new();
    let host = run(&place, &SMALL);
    let guest = run(&place, &[&SMALL[..], &["--kernels=guest"]].concat());
    let native = run(
        &place,
        &[&SMALL[..], &["--kernels=guest", "--executor=native"]].concat(),
    );
    assert_eq!(table(&guest, "rounds.csv"), table(&native, "rounds.csv"));
    for index in [3, 4] {
        for (host, guest) in column(&host, index).iter().zip(column(&guest, index)) {
            assert!((host - guest).abs() < 1e-3 * host, "{host} {guest}");
        }
    }
}

/// Records of CIFAR: a label, or two, and an image that is the same for all of its class, but for some noise.
fn photographs(labels: usize, count: usize) -> Vec<u8> {
    let record = |index: usize| {
        let class = index % 10;
        let pixel = move |place: usize| (class * 20 + (place * (class + 3) + index * 7) % 56) as u8;
        std::iter::repeat_n(class as u8, labels).chain((0..3072).map(pixel))
    };
    (0..count).flat_map(record).collect()
}

/// The convolutional network: the same on every executor, and nearly the same with kernels of the guest.
#[test]
fn convolutions_agree_everywhere() {
    let place = Place::new();
    place.write("photographs/cifar10_train.bin", photographs(1, 20));
    place.write("photographs/cifar10_test.bin", photographs(1, 10));
    let args = [
        "fedlearn",
        "--app.data-dir=photographs",
        "--app.dataset=cifar10",
        "--app.clients=2",
        "--app.rounds=1",
        "--app.epochs=1",
        "--app.batch-size=4",
        "--app.lr=0.05",
    ];
    let all: Vec<Value> = EXECUTIONS
        .iter()
        .map(|execution| run(&place, &[&args, *execution].concat()))
        .collect();
    assert_eq!(all[0]["values"]["parameters"], 5_851_338, "{}", all[0]);
    for (json, execution) in all.iter().zip(EXECUTIONS) {
        assert_eq!(json["values"], all[0]["values"], "{execution:?}");
    }
    let guest = run(&place, &[&args[..], &["--kernels=guest"]].concat());
    for index in [3, 4] {
        let (host, guest) = (column(&all[0], index)[0], column(&guest, index)[0]);
        assert!((host - guest).abs() < 1e-3 * host, "{host} {guest}");
    }
}

/// Files of the other formats get into the sandbox as well.
#[test]
fn every_format_is_read() {
    let place = Place::new();
    place.write("cifar100/train.bin", photographs(2, 30));
    place.write("cifar100/test.bin", photographs(2, 10));
    for (part, count) in [("train", 30_u32), ("t10k", 10)] {
        let header = |kind: &[u8], sizes: &[u32]| {
            let sizes = sizes.iter().flat_map(|size| size.to_be_bytes());
            [0, 0, 8].iter().chain(kind).copied().chain(sizes).collect()
        };
        let mut images: Vec<u8> = header(&[3], &[count, 28, 28]);
        images.extend((0..count * 784).map(|pixel| (pixel % 251) as u8));
        let mut labels: Vec<u8> = header(&[1], &[count]);
        labels.extend((0..count).map(|label| (label % 10) as u8));
        place.write(&format!("fmnist/{part}-images-idx3-ubyte"), images);
        place.write(&format!("fmnist/{part}-labels-idx1-ubyte"), labels);
    }
    for (dataset, parameters) in [("cifar100", 3073 * 128 + 129 * 100), ("fmnist", 101_770)] {
        let dataset = format!("--app.dataset={dataset}");
        let json = run(
            &place,
            &[
                "fedlearn",
                "--app.data-dir=.",
                &dataset,
                "--app.model=mlp",
                "--app.clients=3",
                "--app.lr=0.01",
            ],
        );
        assert_eq!(json["values"]["samples"], 30, "{json}");
        assert_eq!(json["values"]["test-samples"], 10, "{json}");
        assert_eq!(json["values"]["parameters"], parameters, "{json}");
    }
}

/// What a client's task is given: weights, its own samples, and little else.
#[test]
fn a_client_gets_its_own_shard_only() {
    let place = Place::new();
    let json = run(&place, &SMALL);
    let records = tasks(&run_dir(&json));
    let count = |name: &str| records.iter().filter(|task| task["name"] == name).count();
    assert_eq!(count("local_train"), 6);
    assert_eq!(count("aggregate"), 2);
    assert_eq!(count("test_model"), 2);
    let (weights, sample) = (101_770 * 4, 785);
    for task in records.iter().filter(|task| task["name"] == "local_train") {
        let inputs = task["inputs"].as_array().expect("inputs");
        let bytes: u64 = inputs
            .iter()
            .filter_map(|input| input["bytes"].as_u64())
            .sum();
        assert!(bytes > weights + 140 * sample, "{task}");
        assert!(bytes < weights + 160 * sample, "{task}");
    }
}

#[test]
fn a_run_that_diverges_fails_its_check() {
    let place = Place::new();
    let (ended, json) = place.json(&[
        "fedlearn",
        "--app.lr=1000000",
        "--app.model=taps",
        "--app.clients=4",
        "--app.rounds=2",
        "--app.samples=100",
        "--app.test-samples=100",
        "--app.seed=1",
    ]);
    assert_ne!(ended.code, Some(0), "{json}");
    let checks = json["checks"].as_array().expect("checks");
    let finite = checks
        .iter()
        .find(|check| check["name"] == "finite")
        .expect("a check");
    assert_eq!(finite["passed"], false, "{json}");
    assert!(run_dir(&json).join("data/rounds.csv").exists());
}

#[test]
fn bad_input_is_refused_with_a_reason() {
    let place = Place::new();
    fs::create_dir(place.path().join("empty")).expect("a directory");
    let part = |name: &str, bytes: &[u8]| place.write(&format!("part/{name}"), bytes);
    part(
        "train-images-idx3-ubyte",
        b"\0\0\x08\x03\0\0\0\x05\0\0\0\x1c\0\0\0\x1cabc",
    );
    part(
        "train-labels-idx1-ubyte",
        b"\0\0\x08\x01\0\0\0\x05\0\0\0\0\0",
    );
    part("t10k-images-idx3-ubyte", b"\0\0\x08\x01\0\0\0\x01\x01");
    part("t10k-labels-idx1-ubyte", b"\0\0\x08\x01\0\0\0\x01\x01");
    let cases: [(&[&str], &str); 7] = [
        (&["--app.participation=0"], "a number above 0, up to 1"),
        (
            &["--app.clients=4001"],
            "at most the number of samples, 4000",
        ),
        (&["--app.device=cuda"], "cpu"),
        (&["--app.dataset=cifar10"], "unless dataset = generated"),
        (&["--app.data-dir=empty"], "t10k-images-idx3-ubyte"),
        (&["--app.data-dir=nowhere"], "nowhere"),
        (
            &["--app.data-dir=part", "--app.test=false"],
            "truncated: 3 bytes of images",
        ),
    ];
    for (args, message) in cases {
        let ended = place.run(&[&["fedlearn"], args].concat());
        assert_ne!(ended.code, Some(0), "{args:?}");
        ended.says(message);
    }
}

#[track_caller]
fn given(data: &Path, args: &[&str]) -> Value {
    let place = Place::new();
    let directory = data.join("fedlearn");
    let options = [
        "fedlearn",
        "--app.data-dir",
        directory.to_str().expect("UTF-8"),
    ];
    run(&place, &[&options[..], args].concat())
}

/// The figure of the data's reference.
#[test]
fn mnist_is_learnt() {
    let Some(data) = data() else { return };
    let json = given(&data, &["--app.model=mlp", "--app.min-accuracy=0.88"]);
    assert_eq!(json["values"]["samples"], 5000, "{json}");
    assert_eq!(json["values"]["test-samples"], 1000, "{json}");
}

/// The convolutional network goes through the sandbox as well.
#[test]
fn cifar_trains_the_network_of_taps() {
    let Some(data) = data() else { return };
    let args = [
        "--app.dataset=cifar10",
        "--app.clients=2",
        "--app.rounds=1",
        "--app.epochs=1",
        "--app.samples=64",
        "--app.test-samples=32",
    ];
    let sandbox = given(&data, &args);
    let native = given(&data, &[&args[..], &["--executor=native"]].concat());
    assert_eq!(sandbox["values"]["parameters"], 5_851_338, "{sandbox}");
    assert_eq!(sandbox["values"], native["values"]);
}
