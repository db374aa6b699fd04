//! Pages in a real browser, without a network.

use crate::harness::{Place, Running, installed};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// The browser that Debian calls so.
const BROWSER: &str = "chromium";

/// Pixels that something drawn has at least, within the axes of a chart.
const DRAWN: u64 = 100;

/// Whether there is a browser; visibly, when there is none.
pub(crate) fn is_there() -> bool {
    installed(&[BROWSER])
}

/// Opens a page as a browser without a network would, uses it, and says what came of it.
#[track_caller]
pub(crate) fn used(place: &Place, page: &Path, more: &[&str]) -> Value {
    let html = fs::read_to_string(page).expect("a page");
    let first = format!(
        "<head><script>{}</script>",
        include_str!("browser_errors.js")
    );
    let last = format!(
        "<script>{}</script></body>",
        include_str!("browser_check.js")
    );
    let (before, after) = html.rsplit_once("</body>").expect("a body");
    let html = format!("{}{last}{after}", before.replacen("<head>", &first, 1));
    let checked = place.write("checked.html", html);
    let profile = place.path().join("profile");
    let mut command = Command::new(BROWSER);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .args(["--no-first-run", "--enable-logging=stderr"])
        .args(["--window-size=1280,900", "--virtual-time-budget=120000"])
        .args(["--host-resolver-rules=MAP * ~NOTFOUND"])
        .args(["--proxy-server=127.0.0.1:9", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(more)
        .arg(format!("file://{}", checked.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ended = Running::new(command, place.path()).end();
    let (dom, said) = (ended.stdout, ended.stderr);
    let console: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .collect();
    assert!(console.is_empty(), "{console:?}");
    let (_, found) = dom
        .split_once("<pre id=\"findings\">")
        .unwrap_or_else(|| panic!("{said}"));
    let (found, _) = found.split_once("</pre>").expect("its end");
    let found = found
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    let found: Value = serde_json::from_str(&found).expect("JSON");
    assert_eq!(found["problems"], Value::Array(Vec::new()), "{found:#}");
    assert_eq!(
        found["resources"],
        Value::Array(Vec::new()),
        "nothing is loaded"
    );
    assert_eq!(
        (&found["unnamed"], &found["images"]),
        (&0.into(), &0.into()),
        "{found:#}"
    );
    assert_eq!(found["objects"], false, "{found:#}");
    found
}

/// Fails unless every chart is drawn, has a tooltip, and zooms.
#[track_caller]
pub(crate) fn expect_charts(found: &Value, names: &[&str]) {
    let charts = found["charts"].as_object().expect("charts");
    let mut wanted: Vec<&str> = names.to_vec();
    wanted.sort_unstable();
    let there: Vec<&str> = charts.keys().map(String::as_str).collect();
    assert_eq!(there, wanted);
    for (name, chart) in charts {
        assert!(chart["drawn"].as_u64() > Some(DRAWN), "{name}: {chart}");
        assert!(
            !chart["tip"].as_str().expect("a text").is_empty(),
            "{name}: {chart}"
        );
        for zoom in ["zoom_by_key", "zoom_by_drag", "zoom_back", "others_follow"] {
            assert_eq!(chart[zoom], true, "{name}: {zoom}");
        }
    }
}
