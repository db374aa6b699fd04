//! What a run allows its programs.

use crate::Confinement;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Limits of each program of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramLimits {
    /// CPU time of one process in seconds; `None` for no limit.
    pub cpu_seconds: Option<u64>,
    /// Address space of one process in bytes; `None` for no limit.
    pub memory_bytes: Option<u64>,
    /// Length of any file that it writes, in bytes.
    pub file_bytes: u64,
    /// Descriptors that one process may have open.
    pub open_files: u64,
    /// Bytes of standard output, and of standard error, at which it is killed.
    pub output_bytes: u64,
}

impl Default for ProgramLimits {
    fn default() -> Self {
        Self {
            cpu_seconds: None,
            memory_bytes: Some(8 << 30),
            file_bytes: 8 << 30,
            open_files: 1024,
            output_bytes: 16 << 20,
        }
    }
}

/// A program that tasks may ask for, where it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundProgram {
    /// Name by which tasks ask for it.
    pub name: String,
    /// The file that is executed; absolute.
    pub path: PathBuf,
    /// Directories and files that it may read besides the system's.
    pub reads: Vec<PathBuf>,
}

/// What every process of a run that runs programs needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramSettings {
    /// The programs that were found.
    pub found: Vec<FoundProgram>,
    /// Those that were not, with what to tell who asks for them.
    pub missing: Vec<(String, String)>,
    /// Limits of each.
    pub limits: ProgramLimits,
    /// Whether a program that cannot be confined in every way is refused.
    pub require_sandbox: bool,
    /// How far they are confined, as the launcher said.
    pub confinement: Confinement,
    /// Directory of the scratch directories.
    pub scratch: PathBuf,
}
