//! Workflows that ran elsewhere, run again: instances in WfCommons' format (WfFormat 1.5 and 1.6).
//!
//! ```text
//! file ──► format: what it says ──► Workflow: checked ──► Plan: scaled ──► tasks `replay`
//! ```

mod format;
mod plan;
mod sample;

use std::collections::HashMap;

use taps::{Engine, Error, Result};

use crate::config::Synthetic;
pub(crate) use plan::Plan;

/// Largest file that is read.
const LARGEST_FILE: u64 = 256_000_000;

/// A workflow that is sound: every name is known, and no task waits for itself.
#[derive(Debug, PartialEq)]
pub(crate) struct Workflow {
    pub(crate) name: String,
    pub(crate) tasks: Vec<Task>,
    /// Bytes of each file.
    pub(crate) files: Vec<f64>,
    /// Numbers of the tasks, parents first.
    pub(crate) order: Vec<u32>,
}

/// A task of a workflow. Tasks and files go by their numbers.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Task {
    pub(crate) id: String,
    /// Time that it took.
    pub(crate) seconds: f64,
    pub(crate) parents: Vec<u32>,
    /// Files that it read.
    pub(crate) reads: Vec<u32>,
    /// Files that it wrote.
    pub(crate) writes: Vec<u32>,
}

impl Workflow {
    /// The workflow of the configuration: that of its file, or a small one of our own.
    pub(crate) fn read(config: &Synthetic, engine: &Engine) -> Result<Self> {
        let Some(file) = &config.instance else {
            return Self::parse(&sample::instance(taps::seed()));
        };
        let payload = engine.input_file(file)?;
        if payload.size() > LARGEST_FILE {
            let value = format!("{} bytes", payload.size());
            let expected = format!("a file of at most {LARGEST_FILE} bytes");
            return Err(Error::config("instance", value, expected));
        }
        Self::parse(&payload.bytes()?)
    }

    /// Reads and checks an instance.
    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let document = format::read(text)?;
        let specification = document.workflow.specification;
        let ids = numbers(
            specification.tasks.iter().map(|task| task.id.as_str()),
            "workflow.specification.tasks",
        )?;
        let declared = specification.files.unwrap_or_default();
        let files = numbers(
            declared.iter().map(|file| file.id.as_str()),
            "workflow.specification.files",
        )?;
        let mut workflow = Self {
            name: document.name,
            tasks: Vec::new(),
            files: sizes(&declared)?,
            order: Vec::new(),
        };
        for (number, task) in specification.tasks.iter().enumerate() {
            let place = format!("workflow.specification.tasks[{number}]");
            workflow.tasks.push(Task {
                id: task.id.clone(),
                seconds: 0.0,
                parents: known(&task.parents, &ids, &place, "parents", "task")?,
                reads: known(&task.input_files, &files, &place, "inputFiles", "file")?,
                writes: known(&task.output_files, &files, &place, "outputFiles", "file")?,
            });
        }
        workflow.add_children(&specification.tasks, &ids)?;
        for task in &mut workflow.tasks {
            for list in [&mut task.parents, &mut task.reads, &mut task.writes] {
                once_each(list);
            }
        }
        check_count(specification.metrics.as_ref(), workflow.tasks.len())?;
        if let Some(execution) = &document.workflow.execution {
            workflow.add_durations(execution, &ids)?;
        }
        workflow.order = workflow.sorted()?;
        Ok(workflow)
    }

    /// Parents that only the other side names.
    fn add_children(&mut self, tasks: &[format::Task], ids: &Numbers) -> Result<()> {
        for (number, task) in tasks.iter().enumerate() {
            let place = format!("workflow.specification.tasks[{number}]");
            for child in known(&task.children, ids, &place, "children", "task")? {
                self.tasks[child as usize].parents.push(number as u32);
            }
        }
        Ok(())
    }

    fn add_durations(&mut self, execution: &format::Execution, ids: &Numbers) -> Result<()> {
        let mut seen = vec![false; self.tasks.len()];
        for (position, run) in execution.tasks.iter().enumerate() {
            let place = format!("workflow.execution.tasks[{position}]");
            let Some(&number) = ids.get(run.id.as_str()) else {
                let place = format!("{place}.id");
                return Err(refused(
                    &place,
                    &run.id,
                    "the id of a task of the specification",
                ));
            };
            if std::mem::replace(&mut seen[number as usize], true) {
                let place = format!("{place}.id");
                return Err(refused(&place, &run.id, "each task once"));
            }
            let seconds = run.runtime_in_seconds;
            if !(0.0..=1e12).contains(&seconds) {
                let place = format!("{place}.runtimeInSeconds");
                return Err(refused(
                    &place,
                    seconds,
                    "a number of seconds, not negative",
                ));
            }
            self.tasks[number as usize].seconds = seconds;
        }
        Ok(())
    }

    /// The tasks, parents first; of those that are ready, the one that the file names first.
    fn sorted(&self) -> Result<Vec<u32>> {
        let mut children = vec![Vec::new(); self.tasks.len()];
        let mut missing: Vec<usize> = Vec::with_capacity(self.tasks.len());
        for (number, task) in (0_u32..).zip(&self.tasks) {
            missing.push(task.parents.len());
            for parent in &task.parents {
                children[*parent as usize].push(number);
            }
        }
        let all = 0..self.tasks.len() as u32;
        let mut order: Vec<u32> = all.filter(|at| missing[*at as usize] == 0).collect();
        let mut done = 0;
        while let Some(next) = order.get(done).copied() {
            done += 1;
            for child in &children[next as usize] {
                missing[*child as usize] -= 1;
                if missing[*child as usize] == 0 {
                    order.push(*child);
                }
            }
        }
        match missing.iter().position(|count| *count > 0) {
            None => Ok(order),
            Some(stuck) => {
                let place = format!("workflow.specification.tasks[{stuck}]");
                let expected = "parents that do not wait for it; the tasks form a cycle";
                Err(refused(&place, &self.tasks[stuck].id, expected))
            }
        }
    }
}

/// Numbers by name.
type Numbers<'a> = HashMap<&'a str, u32>;

/// Numbers the names of a list.
fn numbers<'a>(names: impl Iterator<Item = &'a str>, place: &str) -> Result<Numbers<'a>> {
    let mut numbers = HashMap::new();
    for (number, name) in (0_u32..).zip(names) {
        if let Some(other) = numbers.insert(name, number) {
            let expected = format!("a name of its own; {place}[{other}] has it already");
            return Err(refused(&format!("{place}[{number}].id"), name, expected));
        }
    }
    Ok(numbers)
}

/// The numbers of the names that a task lists.
fn known(
    names: &[String],
    numbers: &Numbers,
    place: &str,
    list: &str,
    kind: &str,
) -> Result<Vec<u32>> {
    let found = names.iter().enumerate().map(|(position, name)| {
        numbers.get(name.as_str()).copied().ok_or_else(|| {
            let place = format!("{place}.{list}[{position}]");
            refused(
                &place,
                name,
                format!("the id of a {kind} of the specification"),
            )
        })
    });
    found.collect()
}

fn sizes(files: &[format::File]) -> Result<Vec<f64>> {
    let sizes = files.iter().enumerate().map(|(number, file)| {
        let bytes = file.size_in_bytes;
        if (0.0..=1e18).contains(&bytes) && bytes.fract() == 0.0 {
            return Ok(bytes);
        }
        let place = format!("workflow.specification.files[{number}].sizeInBytes");
        Err(refused(
            &place,
            bytes,
            "a whole number of bytes, not negative",
        ))
    });
    sizes.collect()
}

/// Holds the number of tasks that the instance says it has against those it lists.
fn check_count(metrics: Option<&format::Metrics>, tasks: usize) -> Result<()> {
    match metrics.and_then(|metrics| metrics.number_of_tasks) {
        Some(said) if said.to_bits() != (tasks as f64).to_bits() => {
            let place = "workflow.specification.metrics.numberOfTasks";
            Err(refused(
                place,
                said,
                format!("{tasks}, as many as are listed"),
            ))
        }
        _ => Ok(()),
    }
}

/// Leaves the first of equal numbers.
fn once_each(numbers: &mut Vec<u32>) {
    let mut seen = std::collections::HashSet::new();
    numbers.retain(|number| seen.insert(*number));
}

/// An error of the instance that names a place in it.
fn refused(place: &str, value: impl serde::Serialize, expected: impl std::fmt::Display) -> Error {
    let value = serde_json::json!(value);
    Error::config("instance", format!("{place} = {value}"), expected)
}
