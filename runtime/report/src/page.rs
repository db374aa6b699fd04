//! One HTML file that needs nothing else.

use crate::Model;
use serde::Serialize;

/// The frame of every page: where the parts go.
const FRAME: &str = include_str!("../assets/page.html");
/// How pages look.
const STYLE: &str = include_str!("../assets/page.css");
/// What all pages share: numbers, tables, tooltips.
const SHARED: &str = include_str!("../assets/shared.js");
/// What the page of a run does, in the order in which it is read.
const REPORT: [&str; 7] = [
    include_str!("../assets/report/rows.js"),
    include_str!("../assets/report/time.js"),
    include_str!("../assets/report/gantt.js"),
    include_str!("../assets/report/tasks.js"),
    include_str!("../assets/report/failures.js"),
    include_str!("../assets/report/graph.js"),
    include_str!("../assets/report/main.js"),
];
/// What a page does besides that follows a run that goes on.
const LIVE: &str = include_str!("../assets/live.js");
/// What a page may do that has everything in it.
const POLICY: &str = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
                      script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:\">";
/// The plotting library, vendored: see `assets/VENDORED.md`.
const PLOTS: &str = include_str!("../assets/uPlot.iife.min.js");
/// Its style.
const PLOTS_STYLE: &str = include_str!("../assets/uPlot.min.css");
/// Its licence, which goes where it goes.
const PLOTS_LICENCE: &str = include_str!("../assets/uPlot-LICENSE");

/// The page of a run.
pub fn page(model: &Model) -> String {
    let title = match &model.run {
        Some(run) => format!("{} on {}: {}", run.app, run.executor, model.path),
        None => model.path.clone(),
    };
    assembled(&title, model, &format!("{}views(model);\n", views()))
}

/// The page that asks for the model of a run as long as that goes on, at `model.json` beside it. `nonce` is what
/// marks scripts as this program's own in the policy that goes along, which is the second part.
pub fn live_page(nonce: &str) -> (String, String) {
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src data: blob:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let script = format!("{}{LIVE}", views());
    let nothing: Option<Model> = None;
    let mark = format!(" nonce=\"{nonce}\"");
    let parts = parts("taps-wasm", &nothing, &script, "", &mark);
    (assemble(&parts), policy)
}

/// The function that draws a model of a run.
fn views() -> String {
    format!("function views(model) {{\n{}}}\n", REPORT.concat())
}

/// Puts the parts of a page together.
pub(crate) fn assembled(title: &str, model: &impl Serialize, script: &str) -> String {
    assemble(&parts(title, model, script, POLICY, ""))
}

/// What goes where in the frame.
fn parts(
    title: &str,
    model: &impl Serialize,
    script: &str,
    policy: &str,
    nonce: &str,
) -> Vec<(&'static str, String)> {
    vec![
        ("policy", policy.to_owned()),
        ("nonce", nonce.to_owned()),
        ("title", text(title)),
        ("licence", PLOTS_LICENCE.replace("*/", "* /")),
        ("plots-style", PLOTS_STYLE.to_owned()),
        ("style", STYLE.to_owned()),
        ("model", json(model)),
        ("plots", PLOTS.to_owned()),
        ("shared", SHARED.to_owned()),
        ("script", script.to_owned()),
    ]
}

fn assemble(parts: &[(&'static str, String)]) -> String {
    let mut page = String::new();
    let mut rest = FRAME;
    // Each part is put in once, from the front: what a part says is never taken for a place.
    while let Some((before, after)) = rest.split_once("{{") {
        page.push_str(before);
        let Some((name, after)) = after.split_once("}}") else {
            break;
        };
        if let Some((_, part)) = parts.iter().find(|(known, _)| *known == name) {
            page.push_str(part);
        }
        rest = after;
    }
    page.push_str(rest);
    page
}

/// JSON that can stand in a `<script>`: no text in it ends the element or begins a comment, and none is a line
/// end to JavaScript that is none to JSON.
fn json(model: &impl Serialize) -> String {
    let text = serde_json::to_string(model).unwrap_or_else(|_| "null".to_owned());
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Outside of strings JSON has none of these.
            '<' => safe.push_str("\\u003c"),
            '>' => safe.push_str("\\u003e"),
            '&' => safe.push_str("\\u0026"),
            '\u{2028}' => safe.push_str("\\u2028"),
            '\u{2029}' => safe.push_str("\\u2029"),
            other => safe.push(other),
        }
    }
    safe
}

/// Text that can stand in an element.
fn text(plain: &str) -> String {
    let mut safe = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str = "</script><script>alert(1)</script><!-- {{model}} \u{2028} & ]]>";

    #[test]
    fn no_text_of_a_run_leaves_its_place() {
        let mut model = Model {
            path: NASTY.into(),
            ..Model::default()
        };
        model.names.push(NASTY.into());
        let page = page(&model);
        let plain = super::page(&Model::default());
        for mark in ["<script", "</script", "<!--"] {
            assert_eq!(
                page.matches(mark).count(),
                plain.matches(mark).count(),
                "{mark}"
            );
        }
        assert!(
            !page.contains('\u{2028}') || page.matches('\u{2028}').count() == 1,
            "only in the title"
        );
        let (_, rest) = page
            .split_once("<script type=\"application/json\" id=\"model\">")
            .expect("a model");
        let (json, _) = rest.split_once("</script>").expect("its end");
        let value: serde_json::Value = serde_json::from_str(json).expect("JSON");
        assert_eq!(value["path"], NASTY);
        assert_eq!(value["names"][0], NASTY);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_data(text: String) {
            let written = json(&text);
            let special = ['<', '>', '&', '\u{2028}', '\u{2029}'];
            proptest::prop_assert!(!written.contains(special));
            let read: String = serde_json::from_str(&written).expect("JSON");
            proptest::prop_assert_eq!(&read, &text);
            let title = super::text(&text);
            proptest::prop_assert!(!title.contains(['<', '>', '"']));
        }
    }

    #[test]
    fn vendored_files_are_those_that_are_named() {
        use sha2::Digest as _;
        let named = include_str!("../assets/VENDORED.md");
        for (name, content) in [
            ("uPlot.iife.min.js", PLOTS),
            ("uPlot.min.css", PLOTS_STYLE),
            ("uPlot-LICENSE", PLOTS_LICENCE),
        ] {
            let digest = hex::encode(sha2::Sha256::digest(content));
            let line = named
                .lines()
                .find(|line| line.starts_with(&format!("| `{name}`")))
                .expect("a line for it");
            assert!(line.contains(&digest), "{name} is {digest}");
        }
    }

    #[test]
    fn a_page_names_nothing_to_load() {
        // What a marker of the graph refers to is in the page.
        let page = page(&Model::default()).replace("url(#arrow)", "");
        for mark in [
            "src=",
            "href=\"http",
            "@import",
            "url(",
            "{{",
            "fetch(",
            "XMLHttpRequest",
            "WebSocket",
        ] {
            let after = page.split_once(mark).map(|(_, after)| after);
            let shown = after.map(|after| after.chars().take(80).collect::<String>());
            assert_eq!(shown, None, "{mark}");
        }
        assert!(page.contains("Leon Sorokin"), "the licence goes along");
        assert!(
            page.contains("default-src 'none'"),
            "and nothing could be loaded"
        );
    }
}
