//! What of WfFormat is read. Versions 1.5 and 1.6 agree in all of it; 1.6 adds metrics, of which the
//! number of tasks is held against the list. Everything else is left alone.

use serde::Deserialize;
use serde_json::Value;
use taps::{Error, Result};

/// Versions that are read.
const VERSIONS: [&str; 2] = ["1.5", "1.6"];

#[derive(Deserialize)]
struct Versioned {
    #[serde(rename = "schemaVersion")]
    schema_version: Option<Value>,
}

/// An instance.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    pub(super) name: String,
    pub(super) workflow: Body,
}

#[derive(Debug, Deserialize)]
pub(super) struct Body {
    pub(super) specification: Specification,
    pub(super) execution: Option<Execution>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Specification {
    pub(super) tasks: Vec<Task>,
    pub(super) files: Option<Vec<File>>,
    pub(super) metrics: Option<Metrics>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) parents: Vec<String>,
    pub(super) children: Vec<String>,
    #[serde(default)]
    pub(super) input_files: Vec<String>,
    #[serde(default)]
    pub(super) output_files: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct File {
    pub(super) id: String,
    pub(super) size_in_bytes: f64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metrics {
    pub(super) number_of_tasks: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Execution {
    pub(super) tasks: Vec<Run>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Run {
    pub(super) id: String,
    pub(super) runtime_in_seconds: f64,
}

/// Reads the text of an instance.
pub(super) fn read(text: &[u8]) -> Result<Document> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let versioned: Versioned = serde_json::from_slice(text).map_err(unreadable)?;
    let version = versioned.schema_version.unwrap_or(Value::Null);
    if !version
        .as_str()
        .is_some_and(|text| VERSIONS.contains(&text))
    {
        return Err(super::refused(
            "schemaVersion",
            version,
            VERSIONS.join(" or "),
        ));
    }
    let mut document: Document = serde_json::from_slice(text).map_err(unreadable)?;
    let specification = &mut document.workflow.specification;
    if specification.tasks.is_empty() {
        let place = "workflow.specification.tasks";
        return Err(super::refused(place, [(); 0], "at least one task"));
    }
    if specification.files.is_none() {
        // Files that are nowhere declared have no size, and nothing of them travels.
        for task in &mut specification.tasks {
            task.input_files.clear();
            task.output_files.clear();
        }
    }
    Ok(document)
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::config(
        "instance",
        error,
        "a workflow in WfFormat 1.5 or 1.6, which is JSON",
    )
}
