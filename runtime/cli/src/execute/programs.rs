//! The native programs of a run: found before any work, started by a launcher, told in `environment.json`.

use crate::{
    apps::consent::Right,
    exit::{ExitCode, Failure},
};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};
use taps_bundle::Bundle;
use taps_config::Resolved;
use taps_payload::FileStore;
use taps_programs::{
    Call, FoundProgram, Launcher, NotFound, ProgramLimits, ProgramSettings, Programs, find,
    reads_of,
};
use taps_schema::ProgramDescription;

/// Where in the run directory programs work.
const DIRECTORY: &str = "programs";

/// How long a program may take to say its version.
const VERSION_PATIENCE: Duration = Duration::from_secs(10);

/// The programs that the app of a run needs, and who starts them.
pub(super) struct RunPrograms {
    launcher: Launcher,
    found: Vec<FoundProgram>,
    missing: Vec<(String, String)>,
    /// Removed when the run is over.
    directories: Vec<PathBuf>,
    /// What each of them says of itself.
    versions: BTreeMap<String, String>,
}

impl RunPrograms {
    /// Finds the programs of an app; none where it needs none. One that it cannot do without must be
    /// there.
    pub(super) fn find(
        resolved: &Resolved,
        bundle: &Bundle,
        right: &Right,
    ) -> Result<Option<Self>, Failure> {
        let app = bundle.app();
        let paths = &resolved.general.programs.paths;
        let names: Vec<&str> = app.programs.iter().map(|need| need.name.as_str()).collect();
        if let Some(unknown) = paths.keys().find(|name| !names.contains(&name.as_str())) {
            let known = match names.as_slice() {
                [] => "it uses none".to_owned(),
                names => format!("it uses {}", names.join(", ")),
            };
            let error = format!(
                "programs.paths: the app {} uses no program `{unknown}`; {known}",
                app.name
            );
            return Err(Failure::new(ExitCode::Usage, error));
        }
        if app.programs.is_empty() {
            return Ok(None);
        }
        allowed(resolved, bundle, right)?;
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for need in &app.programs {
            match find(&need.name, paths.get(&need.name).map(PathBuf::as_path)) {
                Ok(path) => {
                    let mut reads = reads_of(&path);
                    reads.extend_from_slice(&resolved.general.programs.read);
                    found.push(FoundProgram {
                        name: need.name.clone(),
                        path,
                        reads,
                    });
                }
                Err(error) => missing.push((need, advice(need, &error))),
            }
        }
        let needed: Vec<&str> = missing
            .iter()
            .filter(|(need, _)| !need.optional)
            .map(|(_, advice)| advice.as_str())
            .collect();
        if !needed.is_empty() {
            let error = format!(
                "the app {} cannot run here: {}",
                app.name,
                needed.join("; ")
            );
            return Err(Failure::new(ExitCode::Usage, error));
        }
        let missing = missing
            .into_iter()
            .map(|(need, advice)| (need.name.clone(), advice));
        Ok(Some(Self {
            missing: missing.collect(),
            found,
            launcher: Launcher::start(crate::internal::program_launcher())
                .map_err(|error| Failure::new(ExitCode::Runtime, error))?,
            directories: Vec::new(),
            versions: BTreeMap::new(),
        }))
    }

    /// Makes the directories where they work, and asks for their versions.
    pub(super) fn open(
        &mut self,
        resolved: &Resolved,
        bundle: &Bundle,
        run_dir: &Path,
    ) -> Result<Programs, Failure> {
        let chosen = &resolved.general.programs;
        let make = |what: &Path, error: &io::Error| {
            let error = format!("make {}: {error}", what.display());
            Failure::new(ExitCode::Runtime, error)
        };
        let base = match &chosen.directory {
            Some(directory) => {
                std::path::absolute(directory).map_err(|error| make(directory, &error))?
            }
            None => run_dir.join(DIRECTORY),
        };
        let scratch = base.join(format!("scratch-{}", std::process::id()));
        fs::create_dir_all(&scratch).map_err(|error| make(&scratch, &error))?;
        if chosen.directory.is_some() {
            // Files of runs that were killed; those of a run directory go with it.
            let _ = FileStore::sweep_stale(&base);
        }
        let files =
            FileStore::create(&base).map_err(|error| Failure::new(ExitCode::Runtime, error))?;
        self.directories = match chosen.directory {
            Some(_) => vec![scratch.clone(), files.path().to_owned()],
            None => vec![base],
        };
        let service = self.launcher.service().try_clone_to_owned();
        let service = service.map_err(|error| Failure::new(ExitCode::Runtime, error))?;
        let settings = ProgramSettings {
            found: self.found.clone(),
            missing: self.missing.clone(),
            limits: ProgramLimits {
                cpu_seconds: chosen.cpu_limit.map(|limit| limit.as_secs()),
                memory_bytes: chosen.memory_bytes,
                file_bytes: chosen.file_bytes,
                open_files: chosen.open_files,
                output_bytes: chosen.output_bytes,
            },
            require_sandbox: chosen.require_sandbox,
            confinement: self.launcher.confinement(),
            scratch,
        };
        let programs = Programs::new(settings, service, files);
        self.versions = versions(&programs, &bundle.app().programs);
        Ok(programs)
    }

    /// What each program is, for `environment.json`.
    pub(super) fn versions(&self) -> &BTreeMap<String, String> {
        &self.versions
    }

    /// How they are confined here.
    pub(super) fn confinement(&self) -> String {
        self.launcher.confinement().to_string()
    }

    /// Removes what they left; not where the run may be resumed, which then still has their files.
    pub(super) fn clean(&self) -> io::Result<()> {
        for directory in &self.directories {
            match fs::remove_dir_all(directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Refuses programs of an app from elsewhere that the user did not allow.
fn allowed(resolved: &Resolved, bundle: &Bundle, right: &Right) -> Result<(), Failure> {
    if right.covers_programs() {
        return Ok(());
    }
    let app = bundle.app();
    let allow = &resolved.general.programs.allow;
    let names = app.programs.iter().map(|need| need.name.as_str());
    let refused: Vec<&str> = names
        .filter(|name| allow.iter().all(|one| one != name))
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    let error = format!(
        "the app {} wants to call {} on this machine, confined to scratch directories; allow it with \
         --allow-programs {}",
        app.name,
        refused.join(", "),
        refused.join(",")
    );
    Err(Failure::new(ExitCode::Usage, error))
}

/// Why a program is not there, and what to do.
pub(crate) fn advice(need: &ProgramDescription, error: &NotFound) -> String {
    let NotFound::OnPath { .. } = error else {
        return error.to_string();
    };
    let install = match need.install.as_str() {
        "" => String::new(),
        command => format!("; install it with `{command}`"),
    };
    let name = &need.name;
    format!(
        "{error}{install}, or say where it is with --programs.paths '{{\"{name}\": \"/path\"}}'"
    )
}

/// What each program that was found says of itself, where it is, and its digest.
fn versions(programs: &Programs, needs: &[ProgramDescription]) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    for found in &programs.settings().found {
        let need = needs.iter().find(|need| need.name == found.name);
        let arguments = need.map(|need| need.version.as_slice()).unwrap_or_default();
        let said = if arguments.is_empty() {
            None
        } else {
            version(programs, &found.name, arguments)
        };
        let said = said.unwrap_or_else(|| "it tells no version".to_owned());
        let digest = fs::read(&found.path).map(|bytes| hex::encode(&Sha256::digest(bytes)[..8]));
        let digest = digest.unwrap_or_else(|error| error.to_string());
        let text = format!("{said}; {}; sha256 {digest}", found.path.display());
        versions.insert(found.name.clone(), text);
    }
    versions
}

/// The first line that it prints.
fn version(programs: &Programs, name: &str, arguments: &[String]) -> Option<String> {
    /// Some print a page.
    const LONGEST: usize = 200;
    let call = Call {
        program: name,
        arguments,
        inputs: Vec::new(),
        outputs: &[],
        environment: &[],
        stdin: None,
        timeout: Some(VERSION_PATIENCE),
        crash: false,
    };
    let done = programs.run(&call, &|| false, &mut Vec::new()).ok()?;
    [done.stdout, done.stderr].iter().find_map(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let line = text
            .lines()
            .map(str::trim)
            .find(|line| line.contains(char::is_alphanumeric))?;
        Some(line.chars().take(LONGEST).collect())
    })
}
