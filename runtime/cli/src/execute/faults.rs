//! The faults that a configuration asks for, as the scheduler takes them.

use taps_config::{FaultPoint, Resolved};
use taps_engine::{FaultAction, core::FaultSettings};

/// The faults of a run; none unless a type is set.
pub(crate) fn settings(resolved: &Resolved) -> Option<FaultSettings> {
    let faults = &resolved.general.faults;
    let names = faults.types.iter();
    let actions: Vec<FaultAction> = names
        .filter_map(|name| FaultAction::from_name(name))
        .collect();
    if actions.is_empty() {
        return None;
    }
    let whole = |number: u128| u32::try_from(number).unwrap_or(u32::MAX);
    Some(FaultSettings {
        actions,
        rate: faults.rate,
        seed: faults.seed.unwrap_or(resolved.general.run.seed),
        point: match faults.point {
            FaultPoint::Before => taps_engine::FaultPoint::Before,
            FaultPoint::Mid => taps_engine::FaultPoint::Mid,
            FaultPoint::After => taps_engine::FaultPoint::After,
        },
        tasks: faults.tasks.clone(),
        indices: faults.indices.clone(),
        attempts: faults.attempts.clone(),
        workers: faults.workers.clone(),
        budget: faults.budget,
        burst: faults.burst,
        mid_us: whole(faults.mid.as_micros()),
        slow_ms: whole(faults.slow.as_millis()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{ffi::OsString, path::Path};
    use taps_config::{FAULT_TYPES, FaultNeed, resolve};
    use taps_engine::FaultActor;

    fn of(flags: &[&str]) -> Option<FaultSettings> {
        const BAG: [&str; 4] = [
            "synthetic",
            "--app.structure=bag",
            "--app.task-count=4",
            "--app.bag-max-running=2",
        ];
        let args: Vec<OsString> = BAG.iter().chain(flags).map(OsString::from).collect();
        let schema = crate::apps::schema().expect("the built-in apps");
        settings(&resolve(&args, &schema, Path::new("/")).expect("a configuration"))
    }

    #[test]
    fn the_types_are_those_of_the_engine_and_need_what_these_do() {
        assert_eq!(
            FAULT_TYPES.map(|(name, _)| name),
            FaultAction::ALL.map(FaultAction::name)
        );
        for (name, need) in FAULT_TYPES {
            let action = FaultAction::from_name(name).expect("an action");
            assert_eq!(need == FaultNeed::WorkerProcesses, action.kills(), "{name}");
            assert_eq!(
                need == FaultNeed::Program,
                action.actor() == FaultActor::Program,
                "{name}"
            );
            if matches!(need, FaultNeed::Sandbox | FaultNeed::TimeLimit) {
                assert_eq!(action.actor(), FaultActor::Sandbox, "{name}");
            }
        }
        for point in taps_engine::FaultPoint::ALL {
            let flag = format!("--faults.point={}", point.name());
            let settings = of(&["--faults", "failure", &flag]).expect("faults");
            assert_eq!(settings.point, point);
        }
    }

    #[test]
    fn random_draws_from_the_types_of_taps() {
        let settings = of(&["--faults=random", "--task-timeout=1"]).expect("faults");
        assert_eq!(settings.actions, FaultAction::TAPS);
    }

    #[test]
    fn without_a_type_there_are_none() {
        assert_eq!(of(&["--faults.rate=0.5"]), None);
    }

    #[test]
    fn the_defaults_are_the_engines() {
        let defaults = FaultSettings {
            seed: 7,
            ..FaultSettings::default()
        };
        assert_eq!(of(&["--faults=failure", "--seed=7"]), Some(defaults));
    }

    #[test]
    fn every_field_arrives() {
        let task = crate::apps::find("synthetic").expect("an app").app().tasks[0]
            .name
            .clone();
        let tasks = format!("--faults.tasks={task}");
        let found = of(&[
            "--faults=random",
            "--faults.random-from=slow-worker,lost-result",
            "--faults.rate=0.25",
            "--faults.seed=3",
            "--faults.point=mid",
            &tasks,
            "--faults.indices=1,2",
            "--faults.attempts=0",
            "--faults.workers=3",
            "--faults.budget=9",
            "--faults.burst=2",
            "--faults.mid-ms=0.25",
            "--faults.slow-ms=50",
        ]);
        let expected = FaultSettings {
            actions: vec![FaultAction::SlowWorker, FaultAction::LostResult],
            rate: 0.25,
            seed: 3,
            point: taps_engine::FaultPoint::Mid,
            tasks: vec![task],
            indices: vec![1, 2],
            attempts: vec![0],
            workers: vec![3],
            budget: Some(9),
            burst: 2,
            mid_us: 250,
            slow_ms: 50,
        };
        assert_eq!(found, Some(expected));
    }
}
