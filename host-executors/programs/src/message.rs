//! What a caller and the launcher say to each other.

use crate::ProgramLimits;
use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SocketFlags, SocketType},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

/// Descriptors of a call, in order: the launcher's end of the call, the request, standard input,
/// output and error.
pub(crate) const CALL_DESCRIPTORS: usize = 5;

/// Longest reply in bytes.
pub(crate) const REPLY_BYTES: usize = 4096;

/// A program to be started.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The file that is executed.
    pub(crate) path: PathBuf,
    /// Its name, argument 0.
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    /// The scratch directory: all that it may write to.
    pub(crate) directory: PathBuf,
    /// What it may read besides the system's files.
    pub(crate) reads: Vec<PathBuf>,
    pub(crate) limits: ProgramLimits,
    pub(crate) require_sandbox: bool,
    /// Whether it crashes before its first instruction: the fault `program-crash`.
    pub(crate) crash: bool,
}

/// How it ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// It ran.
    Ended(Ended),
    /// It could not be started.
    Failed(String),
}

/// The end of a program.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) exit: Option<i32>,
    pub(crate) signal: Option<i32>,
    /// Of the program and all that it started and waited for.
    pub(crate) cpu_user_ns: u64,
    pub(crate) cpu_system_ns: u64,
    /// Of the largest process.
    pub(crate) peak_memory_bytes: u64,
    /// Processes that it left running, which were killed.
    pub(crate) left_behind: u32,
}

/// Two connected sockets that keep messages apart, closed on exec.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// The next thing that the launcher says.
pub(crate) fn hear<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<T> {
    let mut bytes = [0; REPLY_BYTES];
    let (count, _) = rustix::io::retry_on_intr(|| {
        rustix::net::recv(&socket, bytes.as_mut_slice(), RecvFlags::empty())
    })?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    postcard::from_bytes(&bytes[..count]).map_err(io::Error::other)
}
