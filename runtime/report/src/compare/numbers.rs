//! The numbers of a run.

use super::Numbers;
use crate::{Model, Run, TimeParts};

/// Most phases of the driver that have a number.
const PHASES_LIMIT: usize = 50;

/// What a run is compared by.
pub(super) fn numbers(model: &Model) -> Numbers {
    let mut numbers = Numbers::new();
    let Some(run) = &model.run else {
        return numbers;
    };
    let tasks = model.counts.succeeded as f64;
    rates(run, tasks, &mut numbers);
    phases(model, run, &mut numbers);
    parts(&model.time, tasks, &mut numbers);
    let ways = model
        .flow
        .inputs
        .values()
        .chain(model.flow.outputs.values());
    let bytes: f64 = ways.map(|way| way.bytes as f64).sum();
    let more = [
        ("tasks", Some(tasks)),
        ("attempts_repeated", Some(model.counts.retried as f64)),
        ("longest_chain_s", model.critical_path_s),
        ("payload_bytes", Some(bytes)),
        (
            "payload_bytes_per_task",
            (tasks > 0.0).then(|| bytes / tasks),
        ),
        (
            "largest_memory_bytes",
            Some(model.memory.largest_bytes as f64),
        ),
    ];
    numbers.extend(
        more.into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?))),
    );
    numbers
}

fn rates(run: &Run, tasks: f64, numbers: &mut Numbers) {
    numbers.insert("wall_s".into(), run.elapsed_s);
    let Some(makespan_s) = run.makespan_s else {
        return;
    };
    numbers.insert("makespan_s".into(), makespan_s);
    if makespan_s > 0.0 && run.slots > 0 {
        let slots = f64::from(run.slots);
        numbers.insert("tasks_per_s".into(), tasks / makespan_s);
        numbers.insert("tasks_per_s_per_slot".into(), tasks / makespan_s / slots);
        numbers.insert("makespan_times_slots_s".into(), makespan_s * slots);
    }
}

/// Each phase lasts until the next begins, or the run ends; those of one name are summed.
fn phases(model: &Model, run: &Run, numbers: &mut Numbers) {
    let ends = model.phases.iter().skip(1).map(|next| next.time_s);
    for (phase, end_s) in model.phases.iter().zip(ends.chain([run.elapsed_s])) {
        let name = format!("phase.{}_s", phase.name);
        let known = numbers.contains_key(&name);
        if known || numbers.len() < PHASES_LIMIT {
            *numbers.entry(name).or_default() += (end_s - phase.time_s).max(0.0);
        }
    }
}

fn parts(time: &TimeParts, tasks: f64, numbers: &mut Numbers) {
    let shares = [
        ("resolve_share", time.resolve_s),
        ("prepare_share", time.prepare_s),
        ("compute_share", time.compute_s),
        ("program_share", time.program_s),
        ("store_share", time.store_s),
        ("unknown_share", time.unknown_s),
        ("idle_share", time.idle_s),
    ];
    for (name, part_s) in shares {
        if time.slot_s > 0.0 {
            numbers.insert(name.into(), part_s / time.slot_s);
        }
    }
    let each = [
        (
            "overhead_per_task_s",
            time.resolve_s + time.prepare_s + time.store_s,
        ),
        ("compute_per_task_s", time.compute_s + time.program_s),
        ("queue_per_task_s", time.queue_s),
    ];
    for (name, sum_s) in each {
        if tasks > 0.0 {
            numbers.insert(name.into(), sum_s / tasks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Phase;

    #[test]
    fn a_phase_lasts_until_the_next() {
        let phase = |name: &str, time_s| Phase {
            name: name.into(),
            time_s,
        };
        let model = Model {
            phases: vec![phase("a", 1.0), phase("b", 3.0), phase("a", 4.0)],
            run: Some(Run {
                elapsed_s: 10.0,
                slots: 2,
                makespan_s: Some(8.0),
                ..Run::default()
            }),
            ..Model::default()
        };
        let numbers = numbers(&model);
        let whole = |name: &str| numbers[name].round() as u64;
        assert_eq!((whole("phase.a_s"), whole("phase.b_s")), (8, 1));
        assert_eq!(whole("makespan_times_slots_s"), 16);
        assert!(
            !numbers.contains_key("overhead_per_task_s"),
            "there were no tasks"
        );
    }
}
