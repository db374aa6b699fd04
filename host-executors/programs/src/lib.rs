//! Native programs for tasks: found, started, confined, limited, ended and accounted for.
//!
//! ```text
//!  coordinator or worker process                      launcher (one thread)
//!    task ──► Programs::run                             │
//!              scratch directory, inputs linked         │
//!              call socket, stdin, stdout, stderr ────► fork, confine, exec ──► program
//!              reads output, watches the clock          │                        │
//!              ◄──────────── how it ended, what it used ┤ ◄── pidfd ─────────────┘
//!              outputs renamed into the file store      └ kills what it left behind
//! ```
//!
//! A call is a pair of sockets. Whoever runs a task holds one end: when it is closed, because the
//! task was cancelled, its time is up or its process died, the launcher kills the program and all
//! that it started. A program is confined before its first instruction:
//!
//! | means | against |
//! |---|---|
//! | process group that cannot be left (seccomp), subreaper | daemons, grandchildren that outlive |
//! | Landlock | files outside of the scratch directory, TCP, signals and abstract sockets beyond it |
//! | seccomp | sockets, ptrace, mounts, namespaces, keys, io_uring, userfaultfd, bpf; changes of modes, owners and times have no effect |
//! | no capabilities, no new privileges | root's rights over read-only inputs, set-user-ID files |
//! | rlimits | CPU time, memory, file sizes, open files, core dumps |
//!
//! Inputs are hard links to read-only files: without the right to change modes nobody can write to
//! them. What is missing on an old kernel is said in every record, and `require_sandbox` refuses it.
//!
//! What this crate never does: it runs no shell, looks into no file, and starts no thread.

mod call;
mod confine;
mod error;
mod find;
mod launcher;
mod message;
mod scratch;
mod settings;
mod streams;
#[expect(
    unsafe_code,
    reason = "what runs between fork and exec, and waiting with resource use"
)]
mod system;

pub use call::{Call, Completion, Content, Programs};
pub use confine::Confinement;
pub use error::{LauncherError, ProgramError};
pub use find::{NotFound, find, reads_of};
pub use launcher::{Launcher, serve_launcher};
pub use settings::{FoundProgram, ProgramLimits, ProgramSettings};
