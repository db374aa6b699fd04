//! A run as a workflow instance of WfCommons.
//!
//! The document lists all tasks with parents and children before it says how they ran, and a run tells both at once.
//! So its records stream by twice:
//!
//! ```text
//!  first   ─► what was executed, files ─► two files beside, as they come
//!             edges, names, levels     ─► some 30 bytes for each task, 12 for each edge
//!  second  ─► tasks with parents, children, files ─► the document, and after them the two files
//! ```

mod execution;
mod graph;
mod specification;

use crate::{
    destination::{self, Destination, write_failed},
    error::ExportError,
    latch::Latch,
};
use execution::Execution;
use serde_json::{Value, json};
use specification::Specification;
use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    path::Path,
};
use taps_report::{Streamed, Told};

/// Version of WfFormat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WfVersion {
    /// 1.5.
    V1_5,
    /// 1.6: adds metrics of structure and execution.
    #[default]
    V1_6,
}

impl WfVersion {
    /// As the document has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1_5 => "1.5",
            Self::V1_6 => "1.6",
        }
    }
}

/// Writes a run.
pub(crate) fn write(
    run: &Path,
    version: WfVersion,
    to: Destination<'_>,
) -> Result<Vec<String>, ExportError> {
    destination::text(to, |out, beside| {
        let failed = |source| write_failed(&beside.join("a temporary file"), source);
        let spool = || tempfile::tempfile_in(beside).map_err(failed);
        let (mut files, mut executed) = (spool()?, spool()?);
        let mut first = Execution::new(&mut files, &mut executed);
        let streamed = taps_report::stream(run, &mut first)?;
        let Some(told) = &streamed.told else {
            return Err(ExportError::Unreadable {
                path: run.to_owned(),
                notes: streamed.notes,
            });
        };
        let sums = first.finish().map_err(failed)?;
        if sums.graph.is_empty() {
            return Err(ExportError::NoTasks {
                path: run.to_owned(),
            });
        }
        let document = Document {
            version,
            told,
            streamed: &streamed,
        };
        document.write_head(&sums, out);
        let mut second = Specification::new(&sums.graph, out);
        taps_report::stream(run, &mut second)?;
        out.text("],\"files\":[");
        copy(&mut files, out).map_err(failed)?;
        document
            .write_rest(&sums, &mut executed, out)
            .map_err(failed)?;
        let mut notes = streamed.notes.clone();
        notes.extend(sums.notes());
        Ok(notes)
    })
}

/// Writes what is in a file, from its beginning.
fn copy(file: &mut File, out: &mut Latch<'_>) -> io::Result<()> {
    file.rewind()?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            read => out.bytes(&buffer[..read]),
        }
    }
}

/// The parts of the document that are not lists.
struct Document<'a> {
    version: WfVersion,
    told: &'a Told,
    streamed: &'a Streamed,
}

impl Document<'_> {
    fn write_head(&self, sums: &execution::Sums, out: &mut Latch<'_>) {
        let started = &self.told.started;
        let name = if started.app.is_empty() {
            "run"
        } else {
            &started.app
        };
        let description = format!(
            "{} tasks of {name}, run by taps-wasm on {} with {} slots ({})",
            sums.graph.len(),
            started.executor,
            started.slots,
            self.told.state
        );
        let environment = self.streamed.environment.as_ref();
        let version = environment
            .and_then(|environment| environment.pointer("/packages/taps-wasm")?.as_str())
            .filter(|version| !version.is_empty())
            .unwrap_or(env!("CARGO_PKG_VERSION"));
        let head = json!({
            "name": name,
            "description": description,
            "createdAt": timestamp(sums.wall_ns(sums.latest_ns)),
            "schemaVersion": self.version.name(),
            "runtimeSystem": {"name": "taps-wasm", "version": version},
        });
        let head = head.to_string();
        // The members of the object, which goes on.
        out.text(head.strip_suffix('}').unwrap_or(&head));
        out.text(",\"workflow\":{\"specification\":{\"tasks\":[");
    }

    /// All after the list of files.
    fn write_rest(
        &self,
        sums: &execution::Sums,
        executed: &mut File,
        out: &mut Latch<'_>,
    ) -> io::Result<()> {
        out.text("]");
        let has_metrics = self.version == WfVersion::V1_6;
        if has_metrics {
            let (levels, narrowest, widest) = sums.graph.levels();
            out.text(",\"metrics\":");
            out.json(&json!({
                "numberOfTasks": sums.graph.len(),
                "numberOfFiles": sums.files,
                "sumOfFileSizesInBytes": sums.file_bytes,
                "numberOfLevels": levels,
                "minimumWidth": narrowest,
                "maximumWidth": widest,
            }));
        }
        out.text("}");
        if sums.executed > 0 {
            out.format(format_args!(
                ",\"execution\":{{\"makespanInSeconds\":{},\"executedAt\":",
                execution::seconds(sums.makespan_ns().into())
            ));
            out.json(&timestamp(self.told.started.start_unix_ns));
            out.text(",\"tasks\":[");
            copy(executed, out)?;
            out.text("]");
            let machines = self.machines(sums);
            if !machines.is_empty() {
                out.text(",\"machines\":");
                out.json(&machines);
            }
            if has_metrics {
                out.format(format_args!(
                    ",\"metrics\":{{\"sumTaskRuntimesInSeconds\":{},\"totalNumBytesRead\":{},\
                     \"totalNumBytesWritten\":{}}}",
                    execution::seconds(sums.runtime_ns),
                    sums.read_bytes,
                    sums.written_bytes
                ));
            }
            out.text("}");
        }
        out.text("}}\n");
        Ok(())
    }

    /// Every host that a task ran on; more of the one whose environment is known.
    fn machines(&self, sums: &execution::Sums) -> Vec<Value> {
        let of = |path: &str| self.streamed.environment.as_ref()?.pointer(path).cloned();
        let known = of("/system/hostname");
        let hosts = sums.hosts.iter().map(|host| {
            let mut machine = json!({"nodeName": host, "system": "linux"});
            if known.as_ref().and_then(Value::as_str) != Some(host) {
                return machine;
            }
            for (name, path) in [
                ("architecture", "/hardware/architecture"),
                ("release", "/system/kernel"),
            ] {
                if let Some(Value::String(text)) = of(path).filter(|text| *text != "") {
                    machine[name] = text.into();
                }
            }
            let memory = of("/hardware/memory_capacity").and_then(|capacity| capacity.as_f64());
            if let Some(gigabytes) = memory.filter(|gigabytes| *gigabytes > 0.0) {
                machine["memoryInBytes"] = json!((gigabytes * 1e9).round() as u64);
            }
            let cores = of("/hardware/logical_cores").and_then(|cores| cores.as_u64());
            if let Some(cores) = cores.filter(|cores| *cores > 0) {
                machine["cpu"] = json!({"coreCount": cores});
            }
            machine
        });
        hosts.collect()
    }
}

/// A wall clock time as ISO 8601, to the microsecond.
fn timestamp(unix_ns: u64) -> String {
    let micros = i64::try_from(unix_ns / 1_000).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.6}")
}
