//! A browser that is told what to do, through its own protocol over two pipes: what the page's policy forbids to
//! scripts stays forbidden.

use super::LONGEST;
use crate::harness::Place;
use serde_json::{Value, json};
use std::{
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A page in the browser.
pub(super) struct Chromium {
    child: Child,
    to: File,
    from: BufReader<File>,
    session: String,
    sent: u64,
}

impl Chromium {
    /// Opens a page, and waits until it has begun to follow its run.
    pub(super) fn open(place: &Place, address: &str) -> Self {
        let pipes = ["to", "from"].map(|name| place.path().join(name));
        for pipe in &pipes {
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            rustix::fs::mkfifoat(rustix::fs::CWD, pipe, mode).expect("a pipe");
        }
        let profile = place.path().join("profile");
        // The shell opens the pipes where the browser looks for them.
        let child = Command::new("sh")
            .args([
                "-c",
                "exec 3<>\"$1\" 4<>\"$2\"; shift 2; exec chromium \"$@\"",
                "sh",
            ])
            .args(&pipes)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args(["--remote-debugging-pipe", "--window-size=1280,900"])
            .args([
                "--no-proxy-server",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the browser");
        // For reading and writing, so that neither waits for the other side to open.
        let open = |pipe| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(pipe)
                .expect("open a pipe")
        };
        let mut made = Self {
            child,
            to: open(&pipes[0]),
            from: BufReader::new(open(&pipes[1])),
            session: String::new(),
            sent: 0,
        };
        let target = made.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = made.call("Target.attachToTarget", &attach);
        let session = session["sessionId"].as_str();
        session.expect("a session").clone_into(&mut made.session);
        made.call("Page.enable", &json!({}));
        made.call("Runtime.enable", &json!({}));
        let first = json!({"source": include_str!("../browser_errors.js")});
        made.call("Page.addScriptToEvaluateOnNewDocument", &first);
        made.call("Page.navigate", &json!({"url": address}));
        made.until("document.readyState === 'complete' && typeof page !== 'undefined' && page.live.updates > 0");
        made
    }

    /// Sends a command, and gives its result.
    #[track_caller]
    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.sent += 1;
        let mut message = json!({"id": self.sent, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = serde_json::to_vec(&message).expect("JSON");
        bytes.push(0);
        self.to.write_all(&bytes).expect("send");
        loop {
            let mut bytes = Vec::new();
            self.from.read_until(0, &mut bytes).expect("an answer");
            assert_eq!(bytes.pop(), Some(0), "the browser is gone");
            let mut answer: Value = serde_json::from_slice(&bytes).expect("JSON");
            if answer["id"] == self.sent {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
        }
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub(super) fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", &params);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer:#}"
        );
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub(super) fn until(&mut self, expression: &str) {
        let end = Instant::now() + LONGEST;
        while self.value(expression) != true {
            if Instant::now() > end {
                let problems = self.value("typeof problems === 'undefined' ? null : problems");
                let live = self.value("typeof page === 'undefined' ? null : page.live");
                panic!("never so: {expression}; {live}; {problems}");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// A picture of the page, as PNG.
    pub(super) fn picture(&mut self) -> Vec<u8> {
        let answer = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        let text = answer["data"].as_str().expect("a picture");
        let params = json!({"expression": format!("atob('{text}').length"), "returnByValue": true});
        let length = self.call("Runtime.evaluate", &params)["result"]["value"].take();
        let bytes = decoded(text);
        assert_eq!(length, bytes.len());
        bytes
    }

    /// Uses the page as a reader would, and says what came of it; fails if anything went wrong since it was opened.
    #[track_caller]
    pub(super) fn check(&mut self) -> Value {
        self.value(include_str!("../browser_check.js"));
        self.until("document.getElementById('findings') !== null");
        let found = self.value("JSON.parse(document.getElementById('findings').textContent)");
        assert_eq!(found["problems"], json!([]), "{found:#}");
        assert_eq!(
            (&found["unnamed"], &found["images"]),
            (&json!(0), &json!(0)),
            "{found:#}"
        );
        assert_eq!(found["objects"], false, "{found:#}");
        for resource in found["resources"].as_array().expect("resources") {
            let resource = resource.as_str().expect("a text");
            let own = resource.starts_with("http://127.0.0.1:")
                && resource.contains("/model.json?client=");
            assert!(own, "nothing else is loaded: {resource}");
        }
        found
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes of base64.
fn decoded(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text
        .bytes()
        .filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte));
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for digit in digits {
        bits = (bits << 6) | digit as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    bytes
}
