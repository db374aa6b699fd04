//! What an app asks of the host, derived from its components and its description.

use crate::{BundleError, Capabilities, ComponentEntry, Manifest, imports::Package};
use taps_schema::AppDescription;

impl Capabilities {
    /// What the imports of the components and the description of the app need.
    pub fn derive(app: &AppDescription, components: &[ComponentEntry]) -> Self {
        Self {
            programs: programs(app),
            kernels: components
                .iter()
                .flat_map(|entry| &entry.imports)
                .any(|import| Package::of(import) == Package::Kernels),
            directories: app
                .config
                .iter()
                .filter(|field| field.kind.is_path())
                .map(|field| field.name.clone())
                .collect(),
            ..Self::default()
        }
    }

    /// Whether the app asks for nothing but what every sandbox may do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Each thing that the app asks for, in plain words.
    pub fn in_words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for program in &self.programs {
            words.push(format!("run the program `{program}` of this machine"));
        }
        for field in &self.directories {
            words.push(format!("use the path that you give as `app.{field}`"));
        }
        if self.kernels {
            words.push("compute dense linear algebra at native speed in the host".to_owned());
        }
        if self.network {
            words.push("reach the network".to_owned());
        }
        if let Some(limit) = &self.memory_limit {
            words.push(format!("use up to {limit} of memory in a sandbox"));
        }
        if let Some(seconds) = self.wall_limit_s {
            words.push(format!("run a task for up to {seconds} s"));
        }
        words
    }
}

/// All programs that the description names, sorted.
fn programs(app: &AppDescription) -> Vec<String> {
    let listed = app.programs.iter().map(|program| &program.name);
    let of_tasks = app.tasks.iter().flat_map(|task| &task.programs);
    let mut names: Vec<String> = listed.chain(of_tasks).cloned().collect();
    names.sort();
    names.dedup();
    names
}

/// Checks that a manifest declares all that its imports and its description need.
pub(crate) fn check(manifest: &Manifest) -> Result<(), BundleError> {
    let app = &manifest.app;
    let declared = &manifest.capabilities;
    let needed = Capabilities::derive(app, &manifest.components);
    let undeclared = |field, value: &str| BundleError::Undeclared {
        app: app.name.clone(),
        field,
        value: value.to_owned(),
    };
    if declared.network {
        return Err(BundleError::Network {
            app: app.name.clone(),
        });
    }
    let missing = |needed: &[String], declared: &[String]| {
        needed.iter().find(|name| !declared.contains(name)).cloned()
    };
    if let Some(program) = missing(&needed.programs, &declared.programs) {
        return Err(undeclared("programs", &program));
    }
    if let Some(field) = missing(&needed.directories, &declared.directories) {
        return Err(undeclared("directories", &field));
    }
    if needed.kernels && !declared.kernels {
        return Err(undeclared("kernels", "true"));
    }
    Ok(())
}
