//! Runs side by side: those of equal configuration are repeats, and say how far a number can be trusted.

mod estimate;
mod numbers;
mod settings;
mod table;

use crate::{Model, ReportError, page::assembled, read};
pub use estimate::Estimate;
use numbers::numbers;
use serde::Serialize;
use settings::{Settings, settings, subjects};
use std::{collections::BTreeMap, path::Path};
pub use table::{aligned, quoted, shown};

/// What the page of a comparison does.
const SCRIPT: &str = include_str!("../../assets/compare.js");

/// Most settings in the label of a group.
const LABEL_SETTINGS: usize = 5;

/// Runs side by side.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Version of this object.
    pub format: u32,
    /// What the groups differ in: settings, or `app` and `engine.executor` with all fields of theirs.
    pub compared: Vec<String>,
    /// What makes the comparison less than it seems.
    pub warnings: Vec<String>,
    /// Runs of equal configuration.
    pub groups: Vec<Group>,
    /// All runs, in the order in which they were named.
    pub runs: Vec<Measured>,
}

/// Runs of equal configuration.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// Its number, from 1.
    pub number: usize,
    /// What makes it differ from the others, for people.
    pub label: String,
    /// Name of the app.
    pub app: String,
    /// Name of the executor.
    pub executor: String,
    /// Worker slots.
    pub slots: u32,
    /// What is not the same in all groups: settings, and names of app, executor, transformer and filter.
    pub settings: BTreeMap<String, String>,
    /// Its runs, by position.
    pub runs: Vec<usize>,
    /// The numbers of those that ended well, by name: see [`Numbers`].
    pub numbers: BTreeMap<String, Estimate>,
}

/// A run, as far as it is compared.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The run directory, as it was named.
    pub path: String,
    /// Position of its group.
    pub group: usize,
    /// How it ended.
    pub state: &'static str,
    /// Whether its numbers count: it ended well and is whole.
    pub counts: bool,
    /// What was found wrong with its records.
    pub notes: Vec<String>,
    /// Its numbers.
    pub numbers: Numbers,
}

/// Numbers of a run, by name. Times are in seconds; `…_share` is a share of slot time, `phase.NAME_s` the length
/// of a phase of the driver.
pub type Numbers = BTreeMap<String, f64>;

/// A run as it was read.
struct Side {
    path: String,
    model: Model,
    settings: Settings,
}

impl Comparison {
    /// Reads these runs and sets them side by side. `by` names what is meant to differ, each a setting, `app` or
    /// `executor`; where it is empty, whatever differs alone is.
    pub fn read<P: AsRef<Path>>(paths: &[P], by: &[String]) -> Result<Self, ReportError> {
        let mut sides = Vec::new();
        for path in paths {
            let mut model = read(path.as_ref())?;
            // A comparison needs the sums only, of however many runs.
            model.attempts = crate::Attempts::default();
            model.graph = crate::Graph::default();
            sides.push(Side {
                path: path.as_ref().display().to_string(),
                settings: settings(model.config.as_deref().unwrap_or_default()),
                model,
            });
        }
        Ok(Self::of(&sides, by))
    }

    fn of(sides: &[Side], by: &[String]) -> Self {
        let mut runs: Vec<Measured> = Vec::new();
        let mut members: Vec<Vec<usize>> = Vec::new();
        for (at, side) in sides.iter().enumerate() {
            let same = |others: &Vec<usize>| is_repeat(&sides[others[0]], side);
            let group = members.iter().position(same).unwrap_or(members.len());
            if group == members.len() {
                members.push(Vec::new());
            }
            members[group].push(at);
            runs.push(measured(side, group));
        }
        let firsts: Vec<&Settings> = members
            .iter()
            .map(|runs| &sides[runs[0]].settings)
            .collect();
        let told_by = subjects(&firsts);
        let compared = told_by.keys().cloned().collect();
        let groups: Vec<Group> = (1..)
            .zip(members)
            .map(|(number, members)| group(sides, &runs, number, members, &told_by))
            .collect();
        let mut comparison = Self {
            format: 1,
            warnings: Vec::new(),
            compared,
            groups,
            runs,
        };
        comparison.warnings = comparison.warn(sides, by);
        comparison
    }

    fn warn(&self, sides: &[Side], by: &[String]) -> Vec<String> {
        let mut warnings = Vec::new();
        let meant = |subject: &String| by.iter().any(|name| names_subject(name, subject));
        let besides: Vec<&String> = self
            .compared
            .iter()
            .filter(|subject| !meant(subject))
            .collect();
        if by.is_empty() && self.compared.len() > 1 {
            let names = self.compared.join(", ");
            warnings.push(format!(
                "the configurations differ in more than one thing ({names}): name what is compared with --by"
            ));
        } else if !by.is_empty() && !besides.is_empty() {
            let names: Vec<&str> = besides.iter().map(|name| name.as_str()).collect();
            warnings.push(format!(
                "besides what is compared, the configurations differ in {}",
                names.join(", ")
            ));
        }
        for name in by {
            if !self
                .compared
                .iter()
                .any(|subject| names_subject(name, subject))
            {
                warnings.push(format!("`{name}` is the same in all runs"));
            }
        }
        warnings.extend(surroundings(sides));
        for run in &self.runs {
            if !run.counts {
                warnings.push(format!(
                    "{}: {}; its numbers are shown and not counted",
                    run.path,
                    why_not(run)
                ));
            }
        }
        for group in &self.groups {
            let counted = group.runs.iter().filter(|&&at| self.runs[at].counts);
            let mut tasks: Vec<u64> = counted
                .map(|&at| sides[at].model.counts.submitted)
                .collect();
            tasks.sort_unstable();
            tasks.dedup();
            if tasks.len() > 1 {
                warnings.push(format!(
                    "{}: repeats had different numbers of tasks: {tasks:?}",
                    group.label
                ));
            }
        }
        if self.groups.iter().any(|group| {
            group
                .numbers
                .get("makespan_s")
                .is_none_or(|makespan| makespan.repeats < 2)
        }) {
            warnings.push(
                "not every configuration was repeated: those that were not have no interval".into(),
            );
        }
        warnings
    }

    /// The page that shows it.
    pub fn page(&self) -> String {
        assembled(
            &format!("Comparison of {} runs", self.runs.len()),
            self,
            SCRIPT,
        )
    }

    /// Each group and number as CSV.
    pub fn csv(&self) -> String {
        table::csv(self)
    }

    /// Tables for people.
    pub fn text(&self) -> String {
        table::text(self)
    }
}

/// Whether two runs are repeats of each other.
fn is_repeat(one: &Side, other: &Side) -> bool {
    let identity = |side: &Side| {
        let run = side.model.run.as_ref();
        run.map(|run| {
            (
                run.app.clone(),
                run.app_version.clone(),
                run.executor.clone(),
                run.slots,
            )
        })
    };
    one.settings == other.settings && identity(one) == identity(other)
}

/// Whether a name that a user gives means that subject: in full, by its last part, or `executor` for its fields.
fn names_subject(name: &str, subject: &str) -> bool {
    let name = name.replace('-', "_");
    let last = |text: &str| text.rsplit('.').next().map(str::to_owned);
    let parent = |text: &str| text.rsplit_once('.').map(|(parent, _)| parent.to_owned());
    name == subject
        || Some(name.clone()) == last(subject)
        || format!("engine.{name}") == subject
        || parent(subject).is_some_and(|parent| parent == format!("engine.{name}"))
}

/// Machines and programs that are not the same.
fn surroundings(sides: &[Side]) -> Vec<String> {
    let facts = [
        ("CPU", "/hardware/cpu_model"),
        ("number of cores", "/hardware/available_cores"),
        ("host", "/system/hostname"),
        ("kernel", "/system/kernel"),
        ("version of taps-wasm", "/packages/taps-wasm"),
        ("version of wasmtime", "/packages/wasmtime"),
    ];
    let mut warnings = Vec::new();
    for (what, pointer) in facts {
        let value = |side: &Side| {
            side.model
                .environment
                .as_ref()?
                .pointer(pointer)
                .map(ToString::to_string)
        };
        let mut values: Vec<String> = sides.iter().filter_map(value).collect();
        values.sort();
        values.dedup();
        if values.len() > 1 {
            warnings.push(format!(
                "the {what} is not the same in all runs: {}",
                values.join(", ")
            ));
        }
    }
    let version = |side: &Side| {
        side.model
            .run
            .as_ref()
            .map(|run| (run.app.clone(), run.app_version.clone()))
    };
    let mut versions: Vec<_> = sides.iter().filter_map(version).collect();
    versions.sort();
    versions.dedup();
    for pair in versions.windows(2) {
        if pair[0].0 == pair[1].0 {
            let (app, one, other) = (&pair[0].0, &pair[0].1, &pair[1].1);
            warnings.push(format!(
                "the version of {app} is not the same in all runs: {one}, {other}"
            ));
        }
    }
    warnings
}

fn why_not(run: &Measured) -> String {
    match run.state {
        "finished" => "its records are not whole".into(),
        "unknown" => run
            .notes
            .first()
            .cloned()
            .unwrap_or_else(|| "its log cannot be read".into()),
        state => format!("the run is {state}, not finished"),
    }
}

fn group(
    sides: &[Side],
    runs: &[Measured],
    number: usize,
    members: Vec<usize>,
    told_by: &BTreeMap<String, String>,
) -> Group {
    let first = &sides[members[0]];
    let mut values: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
    for run in members.iter().map(|&at| &runs[at]).filter(|run| run.counts) {
        for (name, &value) in &run.numbers {
            values.entry(name).or_default().push(value);
        }
    }
    let estimates = values
        .into_iter()
        .filter_map(|(name, values)| Some((name.clone(), Estimate::of(&values)?)));
    let of_first = |(subject, name): (&String, &String)| {
        Some((subject.clone(), first.settings.get(name)?.clone()))
    };
    let run = first.model.run.clone().unwrap_or_default();
    let setting = |name: &str| first.settings.get(name).cloned().unwrap_or_default();
    let or = |text: String, name| if text.is_empty() { setting(name) } else { text };
    Group {
        number,
        label: label(first, told_by),
        app: or(run.app, "app.name"),
        executor: or(run.executor, "engine.executor.name"),
        slots: run.slots,
        settings: told_by.iter().filter_map(of_first).collect(),
        runs: members,
        numbers: estimates.collect(),
    }
}

/// App and executor, and the few settings that differ.
fn label(side: &Side, told_by: &BTreeMap<String, String>) -> String {
    let value = |name: &str| side.settings.get(name).map_or("–", String::as_str);
    let mut label = format!("{}, {}", value("app.name"), value("engine.executor.name"));
    let further = told_by
        .iter()
        .filter(|(subject, _)| !matches!(subject.as_str(), "app" | "engine.executor"));
    for (subject, name) in further.take(LABEL_SETTINGS) {
        let last = subject.rsplit('.').next().unwrap_or(subject);
        label = format!("{label}, {last} {}", value(name));
    }
    label
}

fn measured(side: &Side, group: usize) -> Measured {
    let model = &side.model;
    let whole = |run: &crate::Run| run.state == "finished" && run.damaged_at.is_none();
    Measured {
        path: side.path.clone(),
        group,
        state: model.run.as_ref().map_or("unknown", |run| run.state),
        counts: model.run.as_ref().is_some_and(whole),
        notes: model.notes.clone(),
        numbers: numbers(model),
    }
}
