//! A workflow as it is replayed: its durations and sizes scaled, and each file at its place in the
//! output of the task that makes it.

use std::collections::{HashMap, HashSet};

use taps::{Bytes, Engine, Future, Report, Result};

use super::Workflow;
use crate::config::{Kernel, Synthetic};
use crate::digest;
use crate::header::{Header, LENGTH};
use crate::kernels::Load;
use crate::submissions::{Counts, Submissions};
use crate::tasks::{Made, Replayed, Take, replay};

/// Time of all tasks together, unless told otherwise: about one second on two workers.
const SECONDS: f64 = 2.0;

/// A file at its place in the output of a task.
#[derive(Clone, Copy, Debug)]
struct Written {
    task: u32,
    offset: u32,
    file: Made,
}

/// What is to be run.
#[derive(Debug)]
pub(crate) struct Plan {
    workflow: Workflow,
    tasks: Vec<Replayed>,
    time_scale: f64,
    /// Bytes that tasks read and no parent of theirs wrote, before they are scaled.
    external_bytes: f64,
    seed: u64,
}

impl Plan {
    /// Plans the replay of a workflow.
    pub(crate) fn new(workflow: Workflow, config: &Synthetic) -> Self {
        let total: f64 = workflow.tasks.iter().map(|task| task.seconds).sum();
        let fitting = if total > SECONDS {
            SECONDS / total
        } else {
            1.0
        };
        let mut plan = Self {
            tasks: Vec::with_capacity(workflow.tasks.len()),
            time_scale: config.replay_time_scale.unwrap_or(fitting),
            external_bytes: 0.0,
            seed: taps::seed(),
            workflow,
        };
        for number in 0..plan.workflow.tasks.len() {
            let task = plan.task(number, config);
            plan.tasks.push(task);
        }
        let written = plan.written();
        for number in 0..plan.tasks.len() {
            plan.tasks[number].takes = plan.takes(number, &written);
        }
        plan
    }

    fn task(&self, number: usize, config: &Synthetic) -> Replayed {
        let task = &self.workflow.tasks[number];
        let nanoseconds = task.seconds * self.time_scale * 1e9;
        let load = match config.kernel {
            Kernel::Empty => Load::default(),
            kernel => Load {
                least_ns: nanoseconds as u64,
                busy: kernel == Kernel::Compute,
                ..Load::default()
            },
        };
        // Rounded up: a file that has content keeps some, unless all have to be made to fit.
        let scaled =
            |file: &u32| (self.workflow.files[*file as usize] * config.data_scale()).ceil();
        let total: f64 = task.writes.iter().map(scaled).sum();
        let most = f64::from(config.most_bytes());
        let fitting = if total > most { most / total } else { 1.0 };
        let makes = task.writes.iter().map(|file| Made {
            bytes: (scaled(file) * fitting) as u32,
            seed: digest::of([self.seed, number as u64, (*file).into()]),
        });
        Replayed {
            number: number as u32,
            seed: self.seed,
            load,
            verify: config.verify,
            plain: config.content == crate::config::Content::Plain,
            parents: task.parents.clone(),
            takes: Vec::new(),
            makes: makes.collect(),
        }
    }

    /// Who wrote each file, and where it is in the output of that task.
    fn written(&self) -> Vec<Vec<Written>> {
        let mut written = vec![Vec::new(); self.workflow.files.len()];
        for (task, replayed) in self.workflow.tasks.iter().zip(&self.tasks) {
            let mut offset = LENGTH as u32;
            for (file, made) in task.writes.iter().zip(&replayed.makes) {
                written[*file as usize].push(Written {
                    task: replayed.number,
                    offset,
                    file: *made,
                });
                offset += made.bytes;
            }
        }
        written
    }

    /// The files that a task finds in the outputs of its parents; of several that wrote one, in that of
    /// the first.
    fn takes(&mut self, number: usize, written: &[Vec<Written>]) -> Vec<Take> {
        let task = &self.workflow.tasks[number];
        let inputs: HashMap<u32, u32> = task.parents.iter().copied().zip(0..).collect();
        let mut takes = Vec::new();
        for file in &task.reads {
            let copies = written[*file as usize].iter().filter_map(|written| {
                let input = *inputs.get(&written.task)?;
                Some(Take {
                    input,
                    offset: written.offset,
                    file: written.file,
                })
            });
            match copies.min_by_key(|take| take.input) {
                Some(take) => takes.push(take),
                None => self.external_bytes += self.workflow.files[*file as usize],
            }
        }
        takes
    }

    /// Number of tasks.
    pub(crate) fn tasks(&self) -> u64 {
        self.tasks.len() as u64
    }

    /// Dependencies between tasks.
    pub(crate) fn edges(&self) -> u64 {
        let tasks = self.workflow.tasks.iter();
        tasks.map(|task| task.parents.len() as u64).sum()
    }

    /// Bytes of files that tasks read from the outputs of others.
    pub(crate) fn bytes_taken(&self) -> u64 {
        let takes = self.tasks.iter().flat_map(|task| &task.takes);
        takes.map(|take| u64::from(take.file.bytes)).sum()
    }

    /// The same, from the side of those that made them: each file as often as children read it that
    /// have it from no earlier parent.
    pub(crate) fn bytes_shared(&self) -> u64 {
        let mut bytes = 0;
        for child in &self.workflow.tasks {
            let mut wanted: HashSet<u32> = child.reads.iter().copied().collect();
            for parent in child.parents.iter().map(|parent| *parent as usize) {
                if wanted.is_empty() {
                    break;
                }
                let writes = &self.workflow.tasks[parent].writes;
                for (file, made) in writes.iter().zip(&self.tasks[parent].makes) {
                    if wanted.remove(file) {
                        bytes += u64::from(made.bytes);
                    }
                }
            }
        }
        bytes
    }

    /// Adds what there is to say of the workflow.
    pub(crate) fn describe(&self, report: Report) -> Report {
        report
            .value("instance", self.workflow.name.as_str())
            .value("time_scale", self.time_scale)
            .value("external_bytes", self.external_bytes)
    }

    /// Runs the workflow; gives the counts, and the digest of the outputs that no task takes.
    pub(crate) fn run(&self, config: &Synthetic, engine: &Engine) -> Result<(Counts, u64)> {
        let mut submissions = Submissions::new(config, engine);
        let mut children = self.children();
        let mut outputs: Vec<Option<Future<Bytes>>> = vec![None; self.tasks.len()];
        let most = config.most_outstanding();
        for number in &self.workflow.order {
            submissions.wait_for_room(most)?;
            let task = &self.tasks[*number as usize];
            let parents = task.parents.iter();
            let inputs = parents.filter_map(|parent| outputs[*parent as usize].as_ref());
            let call = replay::call(task, inputs);
            let future = submissions.submit(call, task.parents.len())?;
            for parent in &task.parents {
                let left = &mut children[*parent as usize];
                *left -= 1;
                if *left == 0 {
                    // Its last child has it.
                    outputs[*parent as usize] = None;
                }
            }
            outputs[*number as usize] = Some(future);
        }
        submissions.finish()?;
        let digests = outputs.iter().flatten().map(|future| {
            let header = future.payload()?.read(0, LENGTH)?;
            Ok(Header::read(&header)?.digest)
        });
        let digest = digest::of(digests.collect::<Result<Vec<_>>>()?);
        Ok((submissions.counts, digest))
    }

    /// The digest that the run must give, from the plan alone.
    pub(crate) fn result(&self) -> u64 {
        let mut digests = vec![0; self.tasks.len()];
        for number in &self.workflow.order {
            let task = &self.tasks[*number as usize];
            let own = digest::of([self.seed, u64::from(*number)]);
            let parents = task.parents.iter().map(|parent| digests[*parent as usize]);
            let takes = task.takes.iter().map(|take| u64::from(take.file.bytes));
            digests[*number as usize] = parents.chain(takes).fold(own, digest::fold);
        }
        let children = self.children();
        let last = digests.iter().zip(&children);
        digest::of(
            last.filter(|(_, children)| **children == 0)
                .map(|(digest, _)| *digest),
        )
    }

    /// Children of each task.
    fn children(&self) -> Vec<u32> {
        let mut children = vec![0; self.tasks.len()];
        for parent in self.tasks.iter().flat_map(|task| &task.parents) {
            children[*parent as usize] += 1;
        }
        children
    }
}
