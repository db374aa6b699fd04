//! A tmpfs with huge pages that is never mounted: memory for the payloads of one run.
//!
//! A mount option decides about huge pages, and mounting needs rights that a user has only in a
//! user namespace. So a child process, which has nothing else to do, enters one, makes the tmpfs
//! and passes its descriptor back:
//!
//! ```text
//!  make ──spawn, stdin is a socket──▶ serve_child
//!       ──size──▶                     unshare, fsopen, huge=always, fsmount
//!       ◀──descriptor, or why not──   exit
//! ```
//!
//! The tmpfs is attached nowhere: whoever has its descriptor can make files in it, nobody else can
//! see it, and it is gone with the last descriptor of it and of its files.

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
        sockopt::{Timeout, set_socket_timeout},
    },
    thread::UnshareFlags,
};
use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

/// How long the child may take; it needs a millisecond or two.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the child answers when it succeeded.
const MADE: &[u8] = b"made";

/// Why there is no tmpfs. Each message completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum TmpfsError {
    /// The system refused.
    #[error("{operation}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The child could not make it.
    #[error("make a tmpfs with huge pages in a user namespace: {reason}")]
    Child {
        /// What it said.
        reason: String,
    },
}

impl TmpfsError {
    fn io(operation: &'static str) -> impl FnOnce(Errno) -> Self {
        move |source| Self::Io {
            operation,
            source: source.into(),
        }
    }
}

/// A tmpfs with huge pages, by its descriptor.
#[derive(Clone, Debug)]
pub struct HugeTmpfs {
    root: Arc<OwnedFd>,
}

impl HugeTmpfs {
    /// One that another process made.
    pub fn from_fd(root: OwnedFd) -> Self {
        Self {
            root: Arc::new(root),
        }
    }

    /// A file without a name. Its mode lets nobody open it for writing again, the owner included.
    pub(crate) fn file(&self) -> io::Result<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&*self.root, ".", flags, Mode::RUSR)?;
        Ok(File::from(file))
    }
}

impl AsFd for HugeTmpfs {
    /// The descriptor, to be passed to another process.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// Makes a tmpfs with huge pages for at most `size_bytes`: itself where this process may, which is
/// when it runs as root, and else by a child. `command` starts a program that does nothing but call
/// [`serve_child`].
pub fn make(command: &mut Command, size_bytes: u64) -> Result<HugeTmpfs, TmpfsError> {
    mount(size_bytes).or_else(|_| make_by_child(command, size_bytes))
}

/// As [`make`], always by a child.
pub fn make_by_child(command: &mut Command, size_bytes: u64) -> Result<HugeTmpfs, TmpfsError> {
    let (ours, childs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(TmpfsError::io("make a pair of sockets"))?;
    set_socket_timeout(&ours, Timeout::Recv, Some(PATIENCE))
        .map_err(TmpfsError::io("set up a socket"))?;
    rustix::net::send(&ours, &size_bytes.to_le_bytes(), SendFlags::NOSIGNAL)
        .map_err(TmpfsError::io("send to a socket"))?;
    let spawned = command
        .stdin(Stdio::from(childs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    // The command has kept the child's socket. Closed, so that the child's end is heard.
    command.stdin(Stdio::null());
    let mut child = spawned.map_err(|source| TmpfsError::Io {
        operation: "start the process that makes a tmpfs",
        source,
    })?;
    let answer = receive(&ours);
    if answer.is_err() {
        // It may hang. One that has ended cannot be killed, which is as good.
        let _ = child.kill();
    }
    // Its answer says more than its status.
    let _ = child.wait();
    answer
}

fn receive(socket: &OwnedFd) -> Result<HugeTmpfs, TmpfsError> {
    let mut text = [0; 512];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut text)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    );
    let count = match received {
        Ok(received) => received.bytes,
        // It ended without reading the size.
        Err(Errno::CONNRESET) => 0,
        Err(error) => {
            let operation = "receive a tmpfs from the process that makes it";
            return Err(TmpfsError::io(operation)(error));
        }
    };
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    match (&text[..count], descriptor) {
        (MADE, Some(root)) => Ok(HugeTmpfs::from_fd(root)),
        (b"", _) => Err(TmpfsError::Child {
            reason: "the process ended without an answer".to_owned(),
        }),
        (said, _) => Err(TmpfsError::Child {
            reason: String::from_utf8_lossy(said).into_owned(),
        }),
    }
}

/// What the child does: takes the size from its standard input, a socket, and answers there.
///
/// The process must be a fresh one with a single thread, because others cannot enter a namespace.
/// It should end after this.
pub fn serve_child() -> Result<(), TmpfsError> {
    let stdin = io::stdin();
    let socket = stdin.as_fd();
    let mut size = [0; 8];
    let (count, _) = rustix::net::recv(socket, &mut size[..], RecvFlags::empty())
        .map_err(TmpfsError::io("receive the size of a tmpfs"))?;
    if count != size.len() {
        return Err(TmpfsError::Child {
            reason: "this is an internal command".to_owned(),
        });
    }
    let made = enter_namespace().and_then(|()| mount(u64::from_le_bytes(size)));
    let answer = match &made {
        Ok(_) => MADE.to_owned(),
        Err(error) => describe(error).into_bytes(),
    };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<BorrowedFd<'_>> = made.iter().map(AsFd::as_fd).collect();
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let sent = rustix::net::sendmsg(
        socket,
        &[IoSlice::new(&answer)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    );
    sent.map_err(TmpfsError::io("send a tmpfs"))?;
    made.map(drop)
}

fn describe(error: &TmpfsError) -> String {
    match error {
        TmpfsError::Io { operation, source } => format!("{operation}: {source}"),
        TmpfsError::Child { reason } => reason.clone(),
    }
}

/// Enters a user namespace in which this process may mount.
fn enter_namespace() -> Result<(), TmpfsError> {
    let (user, group) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    #[expect(unsafe_code, reason = "entering a namespace is unsafe in general")]
    // SAFETY: what is unsafe is a table of descriptors that threads no longer share, and neither
    // of these flags changes it. Guarded by `tests/tmpfs.rs`.
    let entered =
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) };
    entered.map_err(TmpfsError::io("enter a user namespace"))?;
    let write = |path: &str, text: String| {
        std::fs::write(path, text).map_err(|source| TmpfsError::Io {
            operation: "map users into a namespace",
            source,
        })
    };
    write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// Makes the tmpfs in the namespace of this process.
fn mount(size_bytes: u64) -> Result<HugeTmpfs, TmpfsError> {
    use rustix::mount::{fsconfig_create, fsconfig_set_string, fsmount, fsopen};
    let failed = || TmpfsError::io("make a tmpfs with huge pages");
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed())?;
    let size = size_bytes.to_string();
    for (key, value) in [("huge", "always"), ("mode", "0700"), ("size", &size)] {
        fsconfig_set_string(&context, key, value).map_err(failed())?;
    }
    fsconfig_create(&context).map_err(failed())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(failed())?;
    Ok(HugeTmpfs::from_fd(root))
}
