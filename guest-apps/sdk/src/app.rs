//! Apps as they are registered, described and run.

use taps_schema::{AppDescription, ProgramDescription, Report, TaskDescription, WIT_VERSION};

use crate::{Config, Engine, ProgramNeed, Result, TaskEntry};

/// An app, made by [`#[taps::app]`](macro@crate::app).
pub struct AppEntry {
    /// Cargo package that defines the app.
    pub package: &'static str,
    /// Name on the command line.
    pub name: &'static str,
    /// Version of the package.
    pub version: &'static str,
    /// Doc comment of the driver, used when the configuration has none.
    pub help: &'static str,
    /// Native programs that its tasks may ask for.
    pub programs: &'static [ProgramNeed],
    /// Which bits a NaN has.
    pub nans: taps_schema::Nans,
    #[doc(hidden)]
    pub config: fn() -> ConfigDescription,
    /// Reads the configuration and runs the driver on it. A configuration error comes before
    /// anything is submitted.
    pub run: fn(&serde_json::Value, &Engine) -> Result<Report>,
}

/// An app put on the list of its binary.
#[doc(hidden)]
pub struct AppRegistration(pub &'static AppEntry);

inventory::collect!(AppRegistration);

/// The package of the app that a component without a driver belongs to.
#[doc(hidden)]
pub struct PackageRegistration(pub &'static str);

inventory::collect!(PackageRegistration);

/// The package of the app that this component was built from.
#[cfg(target_arch = "wasm32")]
pub(crate) fn own_package() -> &'static str {
    #[cfg(feature = "tasks-alone")]
    return inventory::iter::<PackageRegistration>()
        .next()
        .map_or("", |package| package.0);
    #[cfg(not(feature = "tasks-alone"))]
    apps().next().map_or("", |app| app.package)
}

/// Name of an app whose author gives none: that of the package, less a leading `taps-`.
#[doc(hidden)]
pub const fn app_name(package: &'static str) -> &'static str {
    match package.as_bytes() {
        [b't', b'a', b'p', b's', b'-', ..] => package.split_at(5).1,
        _ => package,
    }
}

/// What a configuration says of itself.
#[doc(hidden)]
pub struct ConfigDescription {
    summary: &'static str,
    fields: Vec<taps_schema::ConfigField>,
}

impl ConfigDescription {
    /// That of a type.
    pub fn of<C: Config>() -> Self {
        Self {
            summary: C::SUMMARY,
            fields: C::fields(),
        }
    }
}

/// The apps linked into this binary. A component has one; the host has all built-in ones.
pub fn apps() -> impl Iterator<Item = &'static AppEntry> {
    inventory::iter::<AppRegistration>().map(|registration| registration.0)
}

impl AppEntry {
    /// What the app says of itself.
    ///
    /// # Panics
    /// If a task's `grants` names a field that is not a path of the configuration, or its
    /// `programs` a program that the app does not list.
    pub fn describe(&self) -> AppDescription {
        let config = (self.config)();
        let tasks = crate::tasks(self.package);
        for task in &tasks {
            for grant in task.grants {
                let known = config
                    .fields
                    .iter()
                    .any(|field| field.name == *grant && field.kind.is_path());
                assert!(
                    known,
                    "task {} asks for {grant}, which is no path of the configuration",
                    task.name
                );
            }
            for program in task.programs {
                let listed = self.programs.iter().any(|need| need.name == *program);
                assert!(
                    listed,
                    "task {} asks for the program {program}, which the app does not list",
                    task.name
                );
            }
        }
        AppDescription {
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            wit_version: WIT_VERSION.to_owned(),
            summary: match config.summary {
                "" => self.help,
                summary => summary,
            }
            .to_owned(),
            driver: true,
            config: config.fields,
            tasks: tasks.into_iter().map(describe_task).collect(),
            programs: self.programs.iter().map(describe_program).collect(),
            nans: self.nans,
        }
    }
}

fn describe_program(need: &ProgramNeed) -> ProgramDescription {
    ProgramDescription {
        name: need.name.to_owned(),
        help: need.help.to_owned(),
        install: need.install.to_owned(),
        version: need.version.iter().map(|&text| text.to_owned()).collect(),
        optional: need.optional,
    }
}

fn describe_task(task: &'static TaskEntry) -> TaskDescription {
    TaskDescription {
        name: task.name.to_owned(),
        help: task.help.to_owned(),
        parameters: task
            .parameters
            .iter()
            .map(|(name, declared)| ((*name).to_owned(), (*declared).to_owned()))
            .collect(),
        outputs: task
            .outputs
            .iter()
            .map(|declared| (*declared).to_owned())
            .collect(),
        pure: task.pure,
        grants: task.grants.iter().map(|&grant| grant.to_owned()).collect(),
        programs: task.programs.iter().map(|&name| name.to_owned()).collect(),
    }
}
