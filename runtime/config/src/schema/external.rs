//! Executors that are somebody else's engines. Fields that TaPS has keep their names.

use super::PluginSchema;
use serde_json::{Value, json};
use taps_schema::{ConfigField, FieldKind};

/// Fields that all of them have, and that are not for the engine.
pub const COMMON_FIELDS: [&str; 8] = [
    "python",
    "worker_binary",
    "batch_max",
    "batch_linger_ms",
    "data",
    "shared_dir",
    "start_timeout",
    "stop_timeout",
];

/// Those of them that have short flags, `--python` and `--data`.
pub(crate) const SHORT_FIELDS: [&str; 2] = ["python", "data"];

/// All of them.
pub(super) fn external_executors() -> Vec<PluginSchema> {
    vec![
        executor(
            "dask",
            "Dask Distributed: a cluster of its own, or a scheduler that runs.",
            dask(),
        ),
        executor(
            "globus",
            "Globus Compute: an endpoint, wherever it is.",
            globus(),
        ),
        executor(
            "hyperqueue",
            "HyperQueue: a server of its own, or one that runs; for Slurm and PBS, too.",
            hyperqueue(),
        ),
        executor(
            "parsl-htex",
            "Parsl's high-throughput executor, with all of Parsl's providers: for Slurm, PBS and others.",
            parsl_htex(),
        ),
        executor(
            "parsl-local",
            "Parsl's threads on this machine.",
            parsl_local(),
        ),
        executor(
            "ray",
            "Ray: an instance of its own, or a cluster that runs.",
            ray(),
        ),
        executor(
            "taskvine",
            "TaskVine, of the Cooperative Computing Tools.",
            taskvine(),
        ),
    ]
}

fn executor(name: &str, summary: &str, own: Vec<ConfigField>) -> PluginSchema {
    PluginSchema {
        name: name.to_owned(),
        summary: summary.to_owned(),
        fields: own.into_iter().chain(common()).collect(),
    }
}

fn field(name: &str, kind: FieldKind, default: Option<Value>, help: &str) -> ConfigField {
    ConfigField {
        name: name.to_owned(),
        kind,
        help: help.to_owned(),
        optional: default.is_none(),
        default,
    }
}

fn integer(min: i64, max: i64) -> FieldKind {
    FieldKind::Integer {
        min: Some(min),
        max: Some(max),
    }
}

fn seconds() -> FieldKind {
    FieldKind::Float {
        min: Some(0.01),
        max: Some(604_800.0),
    }
}

fn text(name: &str, help: &str) -> ConfigField {
    field(name, FieldKind::String, None, help)
}

fn flag(name: &str, default: bool, help: &str) -> ConfigField {
    field(name, FieldKind::Bool, Some(default.into()), help)
}

fn workers(help: &str) -> ConfigField {
    field("workers", integer(1, 4096), None, help)
}

fn common() -> Vec<ConfigField> {
    let modes = ["auto", "inline", "engine", "shared"];
    vec![
        field(
            "python",
            FieldKind::String,
            Some(json!("python3")),
            "Interpreter that has the engine's package.",
        ),
        text(
            "worker_binary",
            "This program on the nodes of the engine. `none` means where it is here, then $TAPS_WASM_BIN, \
             then `taps-wasm` on the PATH of the node.",
        ),
        field(
            "batch_max",
            integer(1, 4096),
            Some(32.into()),
            "Most short tasks that the engine gets as one. 1 sends each by itself.",
        ),
        field(
            "batch_linger_ms",
            integer(0, 10_000),
            Some(1.into()),
            "Milliseconds that a short task waits for others while the engine is busy.",
        ),
        field(
            "data",
            FieldKind::Enum {
                values: modes.map(str::to_owned).into(),
            },
            Some(json!("auto")),
            "How large payloads reach tasks: `inline` with the task, `engine` by the engine's own references, \
             `shared` through files that all workers see. `auto`: `shared` where the engine is on this machine \
             or `shared_dir` is given, else `engine` where it has references, else `inline`.",
        ),
        field(
            "shared_dir",
            FieldKind::OutputDir,
            None,
            "Directory that all workers see, for `data = \"shared\"`. `none` means memory of this machine, where \
             the engine is on it.",
        ),
        field(
            "start_timeout",
            seconds(),
            Some(60.0.into()),
            "Seconds that the engine may take to be ready.",
        ),
        field(
            "stop_timeout",
            seconds(),
            Some(10.0.into()),
            "Seconds that the engine may take to end.",
        ),
    ]
}

fn dask() -> Vec<ConfigField> {
    vec![
        text(
            "scheduler",
            "Address of a scheduler that runs. `none` starts a cluster on this machine.",
        ),
        flag(
            "use_threads",
            false,
            "Workers of an own cluster are threads of one process.",
        ),
        workers("Workers of an own cluster. `none` means one per CPU that the process may use."),
        field(
            "threads_per_worker",
            integer(1, 1024),
            Some(1.into()),
            "Tasks that a worker of an own cluster runs at a time.",
        ),
        flag(
            "daemon_workers",
            true,
            "Workers of an own cluster are daemon processes.",
        ),
        flag(
            "wait_for_workers",
            true,
            "Begin when all workers are there.",
        ),
        field(
            "wait_for_workers_timeout",
            seconds(),
            None,
            "Seconds to wait for them.",
        ),
        text(
            "memory_limit",
            "Memory of each worker of an own cluster, as Dask writes it, such as `4GiB`.",
        ),
        field(
            "allowed_failures",
            integer(0, 1000),
            Some(0.into()),
            "How often Dask itself repeats a task whose worker was lost, in an own cluster. Retries of the run come after.",
        ),
        field(
            "no_workers_timeout",
            seconds(),
            Some(60.0.into()),
            "Seconds after which a task fails that no worker can run.",
        ),
        text(
            "tls_ca_file",
            "Certificate of the authority that signed the scheduler's.",
        ),
        text("tls_cert", "Certificate of this client."),
        text("tls_key", "Key of this client."),
    ]
}

fn ray() -> Vec<ConfigField> {
    vec![
        text(
            "address",
            "Address of a cluster that runs, such as `auto` or `ray://HOST:10001`. `none` starts an instance on this machine.",
        ),
        field(
            "num_cpus",
            integer(1, 4096),
            None,
            "CPUs of an own instance. `none` means those that the process may use.",
        ),
        field(
            "object_store_memory",
            integer(78_643_200, i64::MAX),
            None,
            "Bytes of the object store of an own instance.",
        ),
        text("namespace", "Namespace of the job."),
        field(
            "scheduling",
            FieldKind::Enum {
                values: ["default", "spread"].map(str::to_owned).into(),
            },
            Some(json!("default")),
            "How Ray chooses nodes: `default` fills one up after the other, `spread` uses all.",
        ),
        field(
            "runtime_env",
            FieldKind::Table,
            Some(json!({})),
            "Runtime environment, as Ray describes it.",
        ),
    ]
}

fn parsl_local() -> Vec<ConfigField> {
    vec![
        workers("Threads. `none` means one per CPU that the process may use."),
        text(
            "run_dir",
            "Directory of Parsl's own logs. `none` means one that goes with the run.",
        ),
    ]
}

fn parsl_htex() -> Vec<ConfigField> {
    vec![
        field(
            "htex",
            FieldKind::Table,
            Some(json!({})),
            "Arguments of Parsl's HighThroughputExecutor, such as `label`, `address`, `max_workers_per_node`, and \
             `provider`: a table with `kind`, such as `SlurmProvider`, and its arguments.",
        ),
        field(
            "retries",
            integer(0, 1000),
            Some(0.into()),
            "How often Parsl itself repeats a task that was lost. Retries of the run come after.",
        ),
        text(
            "strategy",
            "Strategy of scaling: `none`, `simple` or `htex_auto_scale`. Nothing means `none`.",
        ),
        field(
            "strategy_period",
            seconds(),
            Some(0.2.into()),
            "Seconds between two looks of the strategy.",
        ),
        field(
            "max_idletime",
            seconds(),
            Some(120.0.into()),
            "Seconds after which idle blocks are given back.",
        ),
        field(
            "monitoring",
            FieldKind::Table,
            None,
            "Arguments of Parsl's MonitoringHub. `none` does not monitor.",
        ),
        text(
            "run_dir",
            "Directory of Parsl's own logs. `none` means one that goes with the run.",
        ),
        field(
            "min_connected_nodes",
            integer(0, 1_000_000),
            None,
            "Nodes that have to be there before the run begins.",
        ),
        field(
            "warmup_timeout",
            seconds(),
            Some(60.0.into()),
            "Seconds to wait for them.",
        ),
    ]
}

fn taskvine() -> Vec<ConfigField> {
    vec![
        workers(
            "Workers that a factory starts on this machine. `none` means one per CPU that the process may use.",
        ),
        flag(
            "factory",
            true,
            "Start workers. Without, workers that know the manager's name or port come by themselves.",
        ),
        text(
            "batch_type",
            "Where the factory starts workers: `local`, `slurm`, `condor` and others. Nothing means `local`.",
        ),
        field(
            "port",
            integer(0, 65_535),
            Some(0.into()),
            "Port of the manager; 0 means any that is free.",
        ),
        text(
            "manager_name",
            "Name by which workers find the manager through the catalog.",
        ),
        field(
            "cores_per_worker",
            integer(1, 4096),
            Some(1.into()),
            "Cores of each worker of the factory.",
        ),
        field(
            "cores_per_task",
            integer(1, 4096),
            Some(1.into()),
            "Cores of each task.",
        ),
        flag(
            "serverless",
            true,
            "Tasks are calls of a library that stays on its worker. Without, each is a process.",
        ),
        field(
            "library_slots",
            integer(1, 4096),
            None,
            "Calls that a library runs at a time. `none` means one for each core of the worker.",
        ),
        text(
            "password_file",
            "File with the password that workers have to know.",
        ),
        flag("ssl", false, "Manager and workers speak through TLS."),
        flag(
            "peer_transfers",
            true,
            "Workers fetch files from each other.",
        ),
        text(
            "bundle_cache",
            "How long workers keep the program and the bundle: `worker` or `forever`. Nothing means `worker`.",
        ),
        flag("debug", false, "Write TaskVine's own debug log."),
        field(
            "tune",
            FieldKind::Table,
            Some(json!({})),
            "Parameters for the manager's `tune`, by name.",
        ),
    ]
}

fn globus() -> Vec<ConfigField> {
    vec![
        text("endpoint", "UUID of the endpoint."),
        field(
            "batch_size",
            integer(1, 10_000),
            Some(128.into()),
            "Most submissions that go to the service in one request.",
        ),
        field(
            "amqp_port",
            integer(1, 65_535),
            None,
            "Port on which results come: 443 or 5671.",
        ),
        field(
            "user_endpoint_config",
            FieldKind::Table,
            Some(json!({})),
            "Configuration of a user endpoint.",
        ),
        field(
            "resource_specification",
            FieldKind::Table,
            Some(json!({})),
            "What each submission occupies, where the endpoint's engine asks for it.",
        ),
    ]
}

fn hyperqueue() -> Vec<ConfigField> {
    vec![
        text(
            "server_dir",
            "Directory of a server that runs. `none` starts server and workers on this machine.",
        ),
        workers("Workers of an own server. `none` means one per CPU that the process may use."),
        text(
            "hq",
            "The `hq` program. `none` means the one on the PATH, then the Python package `hyperqueue`.",
        ),
        field(
            "time_limit",
            seconds(),
            None,
            "Seconds after which HyperQueue ends a task.",
        ),
        field(
            "crash_limit",
            integer(1, 1000),
            Some(1.into()),
            "How often a task may lose its worker before HyperQueue gives it up. Retries of the run come after.",
        ),
        field(
            "alloc",
            FieldKind::List {
                item: Box::new(FieldKind::String),
            },
            Some(json!([])),
            "Arguments for `hq alloc add`, such as `[\"slurm\", \"--time-limit\", \"1h\", \"--\", \"-p\", \"short\"]`.",
        ),
    ]
}
