//! What the page of a run that goes on shows.

use super::{ENDED, SUBMITTED, Watched, chromium::Chromium, http, report, until};
use crate::browser;
use std::{fs, thread};

#[test]
fn the_model_follows_the_run_and_ends_as_its_report() {
    let watched = Watched::endless(&["--dashboard"]);
    let address = format!("{}model.json?client=1", watched.address("Dashboard"));
    let mut tag = String::new();
    let mut submitted = 0;
    let mut seen = 0;
    until("all short tasks have ended", || {
        let answer = http::get(&address, &tag);
        assert_eq!(answer.status, 200);
        tag = format!("If-None-Match: {}\r\n", answer.headers["etag"]);
        let model = answer.json();
        assert_eq!(model["run"]["state"], "going-on");
        assert_eq!(model["notes"], serde_json::json!([]));
        let now = model["counts"]["submitted"].as_u64().expect("a count");
        assert!(now >= submitted, "counts rise");
        (submitted, seen) = (now, seen + 1);
        model["counts"]["succeeded"] == ENDED
    });
    assert_eq!(submitted, SUBMITTED);
    let model = http::get(&address, "").json();
    assert_eq!(model["counts"]["open"], 1);
    assert_eq!(model["failures"]["open"][0]["name"], "spin");
    assert!(model["run"]["elapsed_s"].as_f64() > model["attempts"]["known"][0].as_f64());
    // A page that waits for news gets the last state of the run.
    let waiting = {
        let (address, mut tag) = (address.clone(), tag);
        thread::spawn(move || {
            loop {
                let answer = http::get(&address, &tag);
                tag = format!("If-None-Match: {}\r\n", answer.headers["etag"]);
                let model = answer.json();
                if model["run"]["state"] != "going-on" {
                    return model;
                }
            }
        })
    };
    let (place, ended) = watched.interrupt();
    ended.expect(130);
    let last = waiting.join().expect("the last state");
    assert_eq!(last["run"]["state"], "interrupted");
    assert_eq!(last, report(&place));
}

#[test]
fn failures_and_faults_end_as_in_the_report() {
    let args = [
        "synthetic",
        "--app.structure=bag",
        "--app.bag-max-running=8",
        "--app.task-count=60",
        "--app.task-data-bytes=100000",
        "--app.task-sleep=0.05",
        "--executor.max-threads=2",
        "--faults=failure",
        "--faults.rate=0.3",
        "--faults.attempts=[0]",
        "--retries=3",
        "--dashboard",
        "-q",
    ];
    let watched = Watched::start(&args);
    let address = format!("{}model.json?client=1", watched.address("Dashboard"));
    let mut tag = String::new();
    let last = loop {
        let answer = http::get(&address, &tag);
        tag = format!("If-None-Match: {}\r\n", answer.headers["etag"]);
        let model = answer.json();
        if model["run"]["state"] != "going-on" {
            break model;
        }
    };
    let (place, ended) = watched.end();
    ended.expect(0);
    assert_eq!(last["run"]["state"], "finished");
    assert!(last["counts"]["retried"].as_u64() > Some(0));
    assert!(last["injection"].is_object());
    assert_eq!(last, report(&place));
}

#[test]
fn a_browser_follows_a_run_to_its_end() {
    if !browser::is_there() {
        return;
    }
    let watched = Watched::endless(&["--dashboard"]);
    let address = watched.address("Dashboard");
    let mut chromium = Chromium::open(&watched.place, &address);
    chromium.until("page.live.updates >= 3");
    assert_eq!(chromium.value("page.live.state"), "going-on");
    let state = "document.querySelector('#head .state').textContent";
    assert_eq!(chromium.value(state), "going-on");
    // What a reader chose stays when the page is drawn anew.
    chromium.value(
        "(() => { const made = page.charts.find((made) => made.id === 'concurrency');
           const { max } = made.plot.scales.x; made.plot.setScale('x', { min: max / 4, max: max / 2 });
           page.tables.attempts.query('nap'); page.chosen = [max / 4, max / 2]; page.since = page.live.updates;
           document.getElementById('attempts-filter').focus(); return 0; })()",
    );
    chromium.until("page.live.updates >= page.since + 2");
    let kept = chromium.value(
        "(() => { const { min, max } = page.charts.find((made) => made.id === 'concurrency').plot.scales.x;
           return [Math.abs(min - page.chosen[0]) < 1e-9, Math.abs(max - page.chosen[1]) < 1e-9,
             document.getElementById('attempts-filter').value, document.activeElement.id]; })()",
    );
    assert_eq!(
        kept,
        serde_json::json!([true, true, "nap", "attempts-filter"])
    );
    let longer = "page.charts.find((made) => made.id === 'throughput').plot.data[0].at(-1)";
    let then = chromium.value(longer).as_f64();
    chromium.value("page.since = page.live.updates");
    chromium.until("page.live.updates >= page.since + 2");
    assert!(chromium.value(longer).as_f64() > then, "charts go on");
    // A page that stands still goes on when it is told to.
    chromium.value("document.querySelector('#live button').click()");
    assert_eq!(chromium.value("page.live.paused"), true);
    chromium.value("document.querySelector('#live button').click()");
    chromium.value("page.since = page.live.updates");
    chromium.until("page.live.updates > page.since");
    chromium.value(
        "(page.tables.attempts.query(''), page.charts.forEach((made) =>
           made.frame.dispatchEvent(new KeyboardEvent('keydown', { key: '0' }))))",
    );

    let (place, ended) = watched.interrupt();
    ended.expect(130);
    chromium.until("page.live.state === 'ended'");
    let said = chromium.value("document.getElementById('live').innerText");
    assert!(
        said.as_str().expect("a text").contains("The run has ended"),
        "{said}"
    );
    assert_eq!(chromium.value(state), "interrupted");
    let found = chromium.check();
    let report = report(&place);
    assert_eq!(
        found["graph"]["nodes"],
        report["graph"]["nodes"].as_array().expect("nodes").len()
    );
    let charts = [
        "throughput",
        "concurrency",
        "waiting",
        "gantt-chart",
        "payload-bytes",
        "memory-chart",
    ];
    let there = found["charts"].as_object().expect("charts");
    let charts: Vec<&str> = charts
        .into_iter()
        .filter(|name| there.contains_key(*name))
        .collect();
    assert!(charts.len() >= 5, "{found:#}");
    browser::expect_charts(&found, &charts);
    assert!(found["tables"]["attempts"]["rows"].as_u64() > Some(SUBMITTED / 2));
    let picture = chromium.picture();
    assert!(picture.len() > 10_000, "{}", picture.len());
    if let Some(directory) = std::env::var_os("TAPS_PICTURES") {
        fs::write(std::path::Path::new(&directory).join("live.png"), picture).expect("write");
    }
}
