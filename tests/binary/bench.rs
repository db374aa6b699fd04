//! `bench`: every cell of a table has its figures, or says why not.

use crate::harness::Place;
use serde_json::Value;

#[test]
fn data_measures_every_size_way_and_executor() {
    let place = Place::new();
    let ended = place.call([
        "bench",
        "data",
        "--sizes=10kB,2MB",
        "--ways=inline,copied,mapped,file",
        "--repeat=1",
        "--csv=figures.csv",
        "--plot=figures.svg",
        "--json",
    ]);
    ended.expect(0);
    let json = ended.json();
    let cells = json.as_array().expect("a list");
    assert_eq!(cells.len(), 2 * 4 * 2);
    for cell in cells {
        if cell["way"] == "inline" && cell["bytes"] == 2_000_000 {
            assert!(
                cell["note"].is_string() && cell["round_trip_us"].is_null(),
                "{cell}"
            );
            continue;
        }
        assert!(cell["note"].is_null(), "{cell}");
        for figure in ["round_trip_us", "round_trip_p90_us", "megabytes_per_s"] {
            assert!(cell[figure].as_f64() > Some(0.0), "{figure}: {cell}");
        }
    }
    let copies = |way: &str, bytes: u64| -> Vec<f64> {
        let wanted = |cell: &&Value| cell["way"] == way && cell["bytes"] == bytes;
        let cells = cells.iter().filter(wanted);
        cells
            .map(|cell| cell["copies"].as_f64().expect("copies"))
            .collect()
    };
    // The first task of a chain is given its input by the driver; both ways of the others are mapped.
    for mapped in copies("mapped", 2_000_000) {
        assert!(mapped < 1.0, "{mapped}");
    }
    for copied in copies("copied", 2_000_000) {
        assert!(copied >= 2.0, "{copied}");
    }
    let csv = std::fs::read_to_string(place.path().join("figures.csv")).expect("CSV");
    assert_eq!(csv.lines().count(), 17, "{csv}");
    let svg = std::fs::read_to_string(place.path().join("figures.svg")).expect("SVG");
    assert!(
        svg.starts_with("<svg") && svg.contains("process-pool, mapped"),
        "{svg}"
    );
}

#[test]
fn data_says_what_it_needs() {
    let place = Place::new();
    let refused = |args: &[&str], said: &str| {
        place
            .call(["bench", "data"].iter().chain(args))
            .expect(2)
            .says(said);
    };
    refused(
        &["--sizes=big"],
        "--sizes: expected sizes from 1B to 2GB, got `big`",
    );
    refused(&["--ways=redis"], "needs the flag --redis");
    refused(
        &["--executors=abacus"],
        "no executor `abacus`; there are thread-pool",
    );
    let ended = place.call(["bench", "data", "--sizes=100MB", "--ways=inline", "--json"]);
    ended.expect(0);
    assert_eq!(
        ended.json()[0]["note"],
        "not inline: from 1 MB on apps build payloads in shared memory"
    );
}
