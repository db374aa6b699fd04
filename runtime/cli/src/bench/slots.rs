//! How each executor is told how many tasks it runs at a time.

use taps_config::PluginSchema;

/// Fields that say so; an executor has at most one of them.
const FIELDS: [&str; 5] = [
    "max_threads",
    "max_processes",
    "workers",
    "num_cpus",
    "htex",
];

/// The field by which an executor is told; `None` where that is somebody else's business.
pub(super) fn field(executor: &PluginSchema) -> Option<&'static str> {
    let has = |name: &str| executor.fields.iter().any(|field| field.name == name);
    FIELDS.into_iter().find(|name| has(name))
}

/// The flag that gives an executor so many slots.
pub(super) fn flag(executor: &PluginSchema, slots: u32) -> Option<String> {
    Some(match field(executor)? {
        // One block of one node is what it has unless told otherwise.
        "htex" => format!("--executor.htex={{\"max_workers_per_node\": {slots}}}"),
        name => format!("--executor.{}={slots}", name.replace('_', "-")),
    })
}

/// Whether an executor is an engine with an interpreter of its own.
pub(super) fn needs_python(executor: &PluginSchema) -> bool {
    executor.fields.iter().any(|field| field.name == "python")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_executor_but_the_remote_one_takes_its_slots() {
        let schema = crate::apps::executors_schema();
        let flags: Vec<_> = schema
            .executors
            .iter()
            .map(|executor| (executor.name.as_str(), flag(executor, 3)))
            .collect();
        for (name, flag) in &flags {
            assert_eq!(flag.is_none(), *name == "globus", "{name}");
        }
        let of = |wanted: &str| {
            let found = flags.iter().find(|(name, _)| *name == wanted);
            found.and_then(|(_, flag)| flag.clone()).expect("slots")
        };
        assert_eq!(of("process-pool"), "--executor.max-processes=3");
        assert_eq!(of("ray"), "--executor.num-cpus=3");
        assert_eq!(
            of("parsl-htex"),
            "--executor.htex={\"max_workers_per_node\": 3}"
        );
    }
}
