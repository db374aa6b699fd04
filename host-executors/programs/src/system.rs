//! Starting a process that confines itself, and waiting for one with what it used.

use rustix::process::{Pid, Signal};
use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Child, Command},
};

/// Starts a program that runs `confine` first. Only for processes of one thread.
pub(crate) fn spawn_confined(
    command: &mut Command,
    mut confine: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<Child> {
    debug_assert_eq!(threads(), 1, "a fork copies one thread alone");
    let before_exec = move || {
        // SAFETY: it takes no memory of ours; an unknown call is an error. Descriptors that this
        // process inherited without the flag must not reach a program; test `inherited`.
        let marked = unsafe {
            libc::syscall(
                libc::SYS_close_range,
                3,
                libc::c_uint::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            )
        };
        if marked != 0 && io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS) {
            return Err(io::Error::last_os_error());
        }
        confine()
    };
    // SAFETY: between fork and exec only what is async-signal-safe may run if other threads exist,
    // because they may hold locks, of the allocator for one. The launcher has a single thread, so
    // the child is a whole copy of it; the assertion above and the tests in `confinement`, which run
    // through here with debug assertions, would fail otherwise.
    unsafe { command.pre_exec(before_exec) };
    command.spawn()
}

/// Ends this process as an invalid access to memory would. It returns only if it cannot.
pub(crate) fn crash() -> io::Error {
    // SAFETY: the default action is no handler, so nothing of ours is called; without it the handler
    // that the standard library installs would let the process go on, and test `a_crash_is_a_signal`
    // would find one that runs.
    unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
    match rustix::process::kill_process(rustix::process::getpid(), Signal::SEGV) {
        Ok(()) => io::Error::other("it lives on after SIGSEGV"),
        Err(error) => error.into(),
    }
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

/// How a process ended, and what it and the children that it waited for used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waited {
    pub(crate) exit: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) cpu_user_ns: u64,
    pub(crate) cpu_system_ns: u64,
    pub(crate) peak_memory_bytes: u64,
}

/// Whom to wait for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whom {
    /// This process.
    Process(Pid),
    /// Any process of this group.
    Group(Pid),
}

/// Waits for a process to end; none when there is nobody to wait for.
pub(crate) fn wait(whom: Whom) -> Option<Waited> {
    let number = match whom {
        Whom::Process(pid) => pid.as_raw_nonzero().get(),
        Whom::Group(pid) => -pid.as_raw_nonzero().get(),
    };
    loop {
        let mut status = 0;
        // SAFETY: `rusage` is plain numbers, for which zeros are valid.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to variables of the right type that live through the call; unit
        // test `a_process_is_waited_for_with_what_it_used`.
        let waited = unsafe { libc::wait4(number, &raw mut status, 0, &raw mut usage) };
        if waited > 0 {
            return Some(Waited {
                exit: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
                signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
                cpu_user_ns: nanoseconds(usage.ru_utime),
                cpu_system_ns: nanoseconds(usage.ru_stime),
                peak_memory_bytes: usage.ru_maxrss.cast_unsigned() * 1024,
            });
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return None;
        }
    }
}

fn nanoseconds(time: libc::timeval) -> u64 {
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_usec.cast_unsigned() * 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_waited_for_with_what_it_used() {
        #[expect(clippy::zombie_processes, reason = "it is waited for in another way")]
        let child = Command::new("cat")
            .arg("/no/such/file")
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("every system has it");
        let pid = Pid::from_child(&child);
        let waited = wait(Whom::Process(pid)).expect("it is a child");
        assert_eq!((waited.exit, waited.signal), (Some(1), None));
        assert!(waited.peak_memory_bytes > 100_000, "{waited:?}");
        assert_eq!(wait(Whom::Process(pid)), None, "it is gone");
    }
}
