//! A small workflow for those who name none: pieces that are worked on apart, put together, and looked
//! at in two ways.
//!
//! ```text
//!             ┌─► align ─► sort ─┐            ┌─► plot
//! fetch ─► split ─► …            ├─► merge ─►─┤
//!             └─► align ─► sort ─┘            └─► report
//! ```

use serde_json::{Value, json};

use crate::digest;

/// Pieces that are worked on apart.
const PIECES: usize = 6;

/// The instance, its sizes and durations drawn from a seed.
pub(super) fn instance(seed: u64) -> Vec<u8> {
    let mut sample = Sample {
        seed,
        ..Sample::default()
    };
    sample.task("fetch", &[], &["archive"]);
    let pieces: Vec<String> = (0..PIECES).map(|piece| format!("piece_{piece}")).collect();
    sample.task("split", &["archive"], &strings(&pieces));
    let mut sorted = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        let aligned = format!("aligned_{number}");
        sample.task(&format!("align_{number}"), &[piece], &[&aligned]);
        let last = format!("sorted_{number}");
        sample.task(&format!("sort_{number}"), &[&aligned], &[&last]);
        sorted.push(last);
    }
    sample.task("merge", &strings(&sorted), &["merged", "index"]);
    sample.task("plot", &["index"], &["figure"]);
    sample.task("report", &["merged", "index"], &["summary"]);
    sample.document().to_string().into_bytes()
}

fn strings(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

#[derive(Default)]
struct Sample {
    seed: u64,
    /// Name, files read, files written.
    tasks: Vec<(String, Vec<String>, Vec<String>)>,
    files: Vec<Value>,
    runs: Vec<Value>,
}

impl Sample {
    fn task(&mut self, name: &str, reads: &[&str], writes: &[&str]) {
        for file in writes {
            let bytes = (1e6 + 4e7 * self.draw(1, self.files.len())).round() as u64;
            self.files.push(json!({ "id": file, "sizeInBytes": bytes }));
        }
        let seconds = 1.0 + 9.0 * self.draw(2, self.tasks.len());
        self.runs
            .push(json!({ "id": name, "runtimeInSeconds": seconds }));
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        self.tasks
            .push((name.to_owned(), owned(reads), owned(writes)));
    }

    fn draw(&self, what: u64, number: usize) -> f64 {
        digest::uniform([self.seed, what, number as u64])
    }

    /// Who reads what whom wrote makes parents and children.
    fn document(&self) -> Value {
        let share = |some: &[String], others: &[String]| some.iter().any(|it| others.contains(it));
        let tasks = self.tasks.iter().map(|(name, reads, writes)| {
            let parents = self.tasks.iter().filter(|other| share(&other.2, reads));
            let children = self.tasks.iter().filter(|other| share(writes, &other.1));
            json!({
                "name": name,
                "id": name,
                "parents": parents.map(|other| &other.0).collect::<Vec<_>>(),
                "children": children.map(|other| &other.0).collect::<Vec<_>>(),
                "inputFiles": reads,
                "outputFiles": writes,
            })
        });
        json!({
            "name": "generated",
            "schemaVersion": "1.5",
            "workflow": {
                "specification": { "tasks": tasks.collect::<Vec<_>>(), "files": self.files },
                "execution": {
                    "makespanInSeconds": 0.0,
                    "executedAt": "1970-01-01T00:00:00Z",
                    "tasks": self.runs,
                },
            },
        })
    }
}
