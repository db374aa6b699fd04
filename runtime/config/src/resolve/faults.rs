//! What faults need of the run: worker processes, a sandbox, a time limit, lineage.

use super::{ChosenApp, Resolver, Values};
use crate::error::Problem;
use crate::faults::{FaultNeed, RANDOM, need, types};
use crate::fields::general_sections;
use crate::known::Known;
use crate::layers::{Setting, Slot, shown};
use crate::schema::{PluginSchema, Schema};
use crate::suggest;
use serde_json::Value;

/// The executor whose workers are processes, and may be killed.
pub(super) const PROCESSES: &str = "process-pool";

/// The executor whose tasks have no sandbox.
const UNSANDBOXED: &str = "native";

impl Resolver<'_> {
    /// The executor when none is chosen: faults that kill workers need processes.
    pub(super) fn default_executor(&mut self) -> &'static str {
        let types = types(
            self.peek("faults", "type").as_ref(),
            self.peek("faults", "random_from").as_ref(),
        );
        let killing = types
            .iter()
            .find(|name| need(name) == FaultNeed::WorkerProcesses);
        let Some(killing) = killing else {
            return Schema::DEFAULT_EXECUTOR;
        };
        let chosen = Slot::Executor.path();
        if !self.settings.iter().any(|setting| setting.key == chosen) {
            let place = self.place_of("faults.type");
            self.notices.push(format!(
                "{place}: the executor is `{PROCESSES}`, because `{killing}` kills worker processes"
            ));
            self.chosen_by = Some(killing.clone());
        }
        PROCESSES
    }

    /// The value of a general field before all values are checked; none if it is wrong.
    fn peek(&self, section: &str, name: &str) -> Option<Value> {
        let section = general_sections().iter().find(|s| s.name == section)?;
        let general = section.fields.iter().find(|g| g.field.name == name)?;
        let known = Known::general(section.name, general);
        let settings = self.settings.iter().filter(|setting| known.takes(setting));
        let settings: Vec<&Setting> = settings.collect();
        if settings.is_empty() {
            return general.field.default.clone();
        }
        self.last_layer(&known, &settings).ok()
    }

    /// Checks what faults need and whom they are aimed at, and switches lineage on where it is needed.
    pub(super) fn faults(
        &mut self,
        values: &mut Values,
        app: Option<&ChosenApp<'_>>,
        executor: Option<&PluginSchema>,
    ) {
        let get = |section: &str, name: &str| {
            let fields = values.get(section).into_iter().flatten();
            let mut found = fields.filter(|(key, _)| key == name);
            found.next().map(|(_, value)| value)
        };
        let kind = get("faults", "type").and_then(Value::as_str);
        let types = types(get("faults", "type"), get("faults", "random_from"));
        let random = kind == Some(RANDOM);
        let limited = get("engine", "task_timeout").is_some_and(|limit| !limit.is_null());
        let lineage = get("engine", "lineage") == Some(&Value::Bool(true));
        let tasks: Vec<Value> = get("faults", "tasks")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        if random && types.is_empty() && get("faults", "random_from").is_some() {
            let place = self.place_of("faults.random_from");
            let problem = Problem::Value {
                expected: "at least one type to draw from".to_owned(),
                given: "[]".to_owned(),
                nearest: None,
            };
            self.error(place, problem);
        }
        let limit_is_wrong = get("engine", "task_timeout").is_none();
        if let Some(executor) = executor {
            let runs_programs = app.is_none_or(|app| !app.description.programs.is_empty());
            let limited = limited || limit_is_wrong;
            self.needs(&types, random, &executor.name, (limited, runs_programs));
        }
        if let Some(app) = app {
            self.targets(&tasks, app);
        }
        self.name_once(values);
        if !lineage && types.iter().any(|name| need(name) == FaultNeed::Lineage) {
            self.with_lineage(values);
        }
    }

    /// Refuses faults that the run cannot act out.
    fn needs(
        &mut self,
        types: &[String],
        random: bool,
        executor: &str,
        (limited, runs_programs): (bool, bool),
    ) {
        let of = |needs: &[FaultNeed]| {
            let mut names: Vec<String> = types
                .iter()
                .filter(|name| needs.contains(&need(name)))
                .map(|name| format!("`{name}`"))
                .collect();
            names.dedup();
            let drawn = if random { " (drawn by `random`)" } else { "" };
            (!names.is_empty()).then(|| names.join(", ") + drawn)
        };
        let executor_name = || executor.to_owned();
        let mut problems = Vec::new();
        if executor != PROCESSES {
            problems.extend(of(&[FaultNeed::WorkerProcesses]).map(|faults| {
                Problem::NoWorkerProcesses {
                    faults,
                    executor: executor_name(),
                }
            }));
        }
        if executor == UNSANDBOXED {
            let sandboxed = of(&[FaultNeed::Sandbox, FaultNeed::TimeLimit]);
            problems.extend(sandboxed.map(|faults| Problem::NoSandbox {
                faults,
                executor: executor_name(),
            }));
        } else if !limited {
            let endless = of(&[FaultNeed::TimeLimit]);
            problems.extend(endless.map(|faults| Problem::NoTimeLimit { faults }));
        }
        if !runs_programs {
            let crashing = of(&[FaultNeed::Program]);
            problems.extend(crashing.map(|faults| Problem::NoPrograms { faults }));
        }
        for problem in problems {
            self.error(self.place_of("faults.type"), problem);
        }
    }

    /// Refuses tasks that the app does not have.
    fn targets(&mut self, tasks: &[Value], app: &ChosenApp<'_>) {
        let known = &app.description.tasks;
        let available: Vec<String> = known.iter().map(|task| task.name.clone()).collect();
        for name in tasks.iter().filter_map(Value::as_str) {
            if !available.iter().any(|task| task == name) {
                let place = self.place_of("faults.tasks");
                let problem = Problem::UnknownTask {
                    app: app.description.name.clone(),
                    name: name.to_owned(),
                    nearest: suggest::nearest(name, available.iter().map(String::as_str)),
                    available: available.clone(),
                };
                self.error(place, problem);
            }
        }
    }

    /// A task that is named twice is named once.
    fn name_once(&mut self, values: &mut Values) {
        let fields = values.get_mut("faults").into_iter().flatten();
        let lists = fields.filter(|(key, _)| key == "tasks");
        for names in lists.filter_map(|(_, value)| value.as_array_mut()) {
            let mut seen: Vec<Value> = Vec::new();
            for name in std::mem::take(names) {
                if seen.contains(&name) {
                    let place = self.place_of("faults.tasks");
                    let name = shown(&name);
                    self.notices
                        .push(format!("{place}: {name} is named more than once"));
                } else {
                    seen.push(name);
                }
            }
            *names = seen;
        }
    }

    /// Lost results are only of interest in a run that computes them again.
    fn with_lineage(&mut self, values: &mut Values) {
        let fields = values.entry("engine".to_owned()).or_default();
        for (_, value) in fields.iter_mut().filter(|(key, _)| key == "lineage") {
            *value = Value::Bool(true);
        }
        let place = self.place_of("faults.type");
        let notice = format!("{place}: `lost-result` switches `engine.lineage` on");
        self.notices.push(notice);
    }
}
