//! What can be chosen, and the fields of each choice.

mod external;

use crate::failures::failures_app;
pub use external::COMMON_FIELDS;
pub(crate) use external::SHORT_FIELDS;
use taps_schema::{AppDescription, ConfigField, FieldKind};

/// Every app and plugin that a run may name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema {
    /// Built-in apps, and `failures`, which runs any of them with faults.
    pub apps: Vec<AppDescription>,
    /// Apps that were loaded because the arguments name them.
    pub bundles: Vec<LoadedApp>,
    /// Executors.
    pub executors: Vec<PluginSchema>,
    /// Filters, without `none`.
    pub filters: Vec<PluginSchema>,
    /// Transformers, without `none`.
    pub transformers: Vec<PluginSchema>,
}

/// An app that was loaded from where the arguments say.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedApp {
    /// How the user wrote it (see [`Preview::app`](crate::Preview)).
    pub written: String,
    /// How `config.toml` writes it; its absolute path when none.
    pub stored: Option<String>,
    /// Digest of the bundle, for `config.toml`; none where the app may change between runs.
    pub digest: Option<String>,
    /// Names of the data that the bundle has: what `bundle:NAME` can stand for.
    pub data: Vec<String>,
    /// What it is.
    pub app: AppDescription,
}

/// Name and fields of an executor, a filter or a transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginSchema {
    /// Name on the command line, in kebab case.
    pub name: String,
    /// One line for `list` and help.
    pub summary: String,
    /// Fields, in the order in which they are shown and written.
    pub fields: Vec<ConfigField>,
}

impl Schema {
    /// The name of the executor that runs when none is named.
    pub const DEFAULT_EXECUTOR: &str = "thread-pool";

    /// A schema with these apps, `failures` over any of them, and all executors.
    pub fn new(mut apps: Vec<AppDescription>) -> Self {
        let failures = failures_app();
        let place = apps.iter().position(|app| app.name > failures.name);
        apps.insert(place.unwrap_or(apps.len()), failures);
        Self {
            apps,
            bundles: Vec::new(),
            executors: local_executors()
                .into_iter()
                .chain(external::external_executors())
                .collect(),
            filters: Vec::new(),
            transformers: Vec::new(),
        }
    }

    /// Adds an app that was loaded from `written`, the path as the user gave it.
    #[must_use]
    pub fn with_bundle(self, written: impl Into<String>, app: AppDescription) -> Self {
        self.with_app(LoadedApp {
            written: written.into(),
            stored: None,
            digest: None,
            data: Vec::new(),
            app,
        })
    }

    /// Adds an app that was loaded because the arguments name it. It counts before any other of its name.
    #[must_use]
    pub fn with_app(mut self, app: LoadedApp) -> Self {
        self.bundles.push(app);
        self
    }
}

/// The executors that need nothing but this machine.
fn local_executors() -> Vec<PluginSchema> {
    let max_threads = ConfigField {
        name: "max_threads".to_owned(),
        kind: FieldKind::Integer {
            min: Some(1),
            max: Some(4096),
        },
        help: "Worker threads. `none` means one per CPU that the process may use.".to_owned(),
        default: None,
        optional: true,
    };
    vec![
        PluginSchema {
            name: Schema::DEFAULT_EXECUTOR.to_owned(),
            summary: "Worker threads of this process; every task in its own sandbox.".to_owned(),
            fields: vec![max_threads.clone()],
        },
        process_pool(),
        PluginSchema {
            name: "native".to_owned(),
            summary: "Worker threads without sandboxes, for built-in apps only: the yardstick."
                .to_owned(),
            fields: vec![max_threads],
        },
    ]
}

/// Worker processes of this machine. TaPS's fields keep their names.
fn process_pool() -> PluginSchema {
    let field = |name: &str, kind, default: Option<serde_json::Value>, help: &str| ConfigField {
        name: name.to_owned(),
        kind,
        help: help.to_owned(),
        optional: default.is_none(),
        default,
    };
    let count = |max| FieldKind::Integer {
        min: Some(1),
        max: Some(max),
    };
    let seconds = || FieldKind::Float {
        min: Some(0.1),
        max: Some(86_400.0),
    };
    PluginSchema {
        name: "process-pool".to_owned(),
        summary: "Worker processes under a manager per node; payloads stay in shared memory."
            .to_owned(),
        fields: vec![
            field(
                "max_processes",
                count(1024),
                None,
                "Worker processes of all nodes. `none` means one per CPU that the process may use.",
            ),
            field(
                "nodes",
                count(64),
                Some(1.into()),
                "Nodes of the pool: groups of workers that fail together with their manager.",
            ),
            field(
                "workers_per_node",
                count(1024),
                None,
                "Worker processes of each node, instead of `max_processes`.",
            ),
            field(
                "look_ahead",
                FieldKind::Integer {
                    min: Some(0),
                    max: Some(1024),
                },
                Some(64.into()),
                "Most short tasks that wait on a worker behind the one that runs. Tasks that take long \
                 never wait there.",
            ),
            field(
                "heartbeat_timeout",
                seconds(),
                Some(30.0.into()),
                "Seconds without a sign of life after which a worker is replaced.",
            ),
            field(
                "start_timeout",
                seconds(),
                Some(60.0.into()),
                "Seconds that a worker may take to start.",
            ),
            field(
                "context",
                FieldKind::Enum {
                    values: ["fork", "spawn", "forkserver"].map(str::to_owned).into(),
                },
                None,
                "Taken for the sake of configurations of TaPS, and without effect: a worker is always a \
                 new process.",
            ),
        ],
    }
}
