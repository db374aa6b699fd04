//! What a program may do.

use crate::ProgramLimits;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, Scope, make_bitflags,
};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

/// How far a program was confined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Version of Landlock that was enforced in full; 0 for none. 4 and more restrict TCP, 6 and more
    /// signals and abstract sockets.
    pub landlock: u8,
    /// Whether the filters of system calls were installed.
    pub seccomp: bool,
}

impl Confinement {
    /// Whether nothing is missing.
    pub fn is_full(self) -> bool {
        self.landlock >= 6 && self.seccomp
    }

    /// Whether a program can change neither files that it was not given nor their modes.
    pub fn protects_inputs(self) -> bool {
        self.landlock > 0 && self.seccomp
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("process group, limits, no new privileges, no capabilities")?;
        match self.landlock {
            0 => f.write_str("; no Landlock: files are not protected")?,
            version @ 1..4 => write!(f, ", Landlock {version} (files)")?,
            version @ 4..6 => write!(f, ", Landlock {version} (files, TCP)")?,
            version => write!(f, ", Landlock {version} (files, TCP, signals)")?,
        }
        f.write_str(if self.seccomp {
            ", seccomp"
        } else {
            "; no seccomp: sockets and leaving the process group are not prevented"
        })
    }
}

/// Directories that every program may read and execute from.
pub(crate) const SYSTEM: [&str; 7] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/lib32",
    "/etc/alternatives",
];

/// Files and directories that every program may read.
const READABLE: [&str; 9] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/locale.alias",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/version",
    "/sys/devices/system",
];

/// Devices that every program may read and write.
const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

/// Known versions of Landlock, best first.
const VERSIONS: [ABI; 7] = [
    ABI::V7,
    ABI::V6,
    ABI::V5,
    ABI::V4,
    ABI::V3,
    ABI::V2,
    ABI::V1,
];

/// What the kernel offers, found out once, and what can be prepared once.
pub(crate) struct Confiner {
    version: Option<ABI>,
    /// What the launcher itself still needs between fork and exec.
    last: Option<BpfProgram>,
    /// Rules for what every program may reach: opened once.
    common: Vec<(PathFd, BitFlags<AccessFs>)>,
    confinement: Confinement,
}

/// What is applied to one program, between fork and exec.
pub(crate) struct Prepared {
    ruleset: Option<RulesetCreated>,
    limits: ProgramLimits,
}

impl Confiner {
    /// Finds out what the kernel offers, and confines this process, which has one thread and starts
    /// programs, as far as it can do without: they inherit that, and it costs none of them anything.
    pub(crate) fn new() -> io::Result<Self> {
        let version = VERSIONS
            .into_iter()
            .find(|version| ruleset(*version).is_ok());
        drop_capabilities()?;
        let last = if has_seccomp() {
            for filter in filters().map_err(io::Error::other)? {
                seccompiler::apply_filter(&filter).map_err(io::Error::other)?;
            }
            Some(last_filter().map_err(io::Error::other)?)
        } else {
            None
        };
        let confinement = Confinement {
            landlock: version.map_or(0, |version| version as u8),
            seccomp: last.is_some(),
        };
        Ok(Self {
            common: version.map(common_rules).unwrap_or_default(),
            version,
            last,
            confinement,
        })
    }

    pub(crate) fn confinement(&self) -> Confinement {
        self.confinement
    }

    /// Prepares to confine a program to a directory, and to what it may read.
    pub(crate) fn prepare(
        &self,
        directory: &Path,
        reads: &[PathBuf],
        limits: ProgramLimits,
    ) -> Result<Prepared, String> {
        let ruleset = self
            .version
            .map(|version| self.rules(version, directory, reads))
            .transpose()
            .map_err(|error| format!("confine it with Landlock: {error}"))?;
        Ok(Prepared { ruleset, limits })
    }

    fn rules(
        &self,
        version: ABI,
        directory: &Path,
        reads: &[PathBuf],
    ) -> Result<RulesetCreated, landlock::RulesetError> {
        let mut rules = ruleset(version)?;
        for (place, access) in &self.common {
            rules = rules.add_rule(PathBeneath::new(place, *access))?;
        }
        let read = AccessFs::from_read(version);
        for path in reads {
            if let Ok(place) = PathFd::new(path) {
                let access = if path.is_dir() {
                    read
                } else {
                    read & AccessFs::from_file(version)
                };
                rules = rules.add_rule(PathBeneath::new(place, access))?;
            }
        }
        // Neither devices nor programs: what it writes it may not execute.
        let work = AccessFs::from_all(version)
            & !make_bitflags!(AccessFs::{Execute | MakeChar | MakeBlock | IoctlDev});
        match PathFd::new(directory) {
            Ok(place) => rules.add_rule(PathBeneath::new(place, work)),
            // It will fail to start there.
            Err(_) => Ok(rules),
        }
    }

    /// Confines this process, which has one thread and is about to execute a program.
    pub(crate) fn apply(&self, prepared: &mut Prepared) -> io::Result<()> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        limit(prepared.limits)?;
        if let Some(ruleset) = prepared.ruleset.take() {
            ruleset.restrict_self().map_err(io::Error::other)?;
        }
        match &self.last {
            Some(filter) => seccompiler::apply_filter(filter).map_err(io::Error::other),
            None => Ok(()),
        }
    }
}

/// A ruleset that denies everything which that version knows; an error where the kernel does not.
fn ruleset(version: ABI) -> Result<RulesetCreated, landlock::RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(version))?;
    if version >= ABI::V4 {
        ruleset = ruleset.handle_access(AccessNet::from_all(version))?;
    }
    if version >= ABI::V6 {
        ruleset = ruleset.scope(Scope::from_all(version))?;
    }
    ruleset.create()
}

fn common_rules(version: ABI) -> Vec<(PathFd, BitFlags<AccessFs>)> {
    let read = AccessFs::from_read(version);
    let read_only = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let device = make_bitflags!(AccessFs::{ReadFile | WriteFile});
    let lists = [
        (SYSTEM.as_slice(), read),
        (READABLE.as_slice(), read_only),
        (DEVICES.as_slice(), device),
    ];
    let mut rules = Vec::new();
    for (paths, access) in lists {
        for path in paths {
            // What this system does not have.
            let Ok(place) = PathFd::new(path) else {
                continue;
            };
            let access = if Path::new(path).is_dir() {
                access
            } else {
                access & AccessFs::from_file(version)
            };
            rules.push((place, access));
        }
    }
    rules
}

fn limit(limits: ProgramLimits) -> io::Result<()> {
    let set = |resource, soft: Option<u64>, hard: Option<u64>| {
        // Never beyond what this process may have.
        let most = rustix::process::getrlimit(resource).maximum;
        let within = |limit: Option<u64>| match (limit, most) {
            (Some(limit), Some(most)) => Some(limit.min(most)),
            (limit, most) => limit.or(most),
        };
        let limit = Rlimit {
            current: within(soft),
            maximum: within(hard),
        };
        setrlimit(resource, limit)
    };
    let same = |resource, limit| set(resource, limit, limit);
    same(Resource::Core, Some(0))?;
    same(Resource::Fsize, Some(limits.file_bytes))?;
    same(Resource::Nofile, Some(limits.open_files))?;
    if limits.memory_bytes.is_some() {
        same(Resource::As, limits.memory_bytes)?;
    }
    if let Some(seconds) = limits.cpu_seconds {
        // A signal that can be caught first, and a second later one that cannot.
        set(Resource::Cpu, Some(seconds), Some(seconds + 1))?;
    }
    Ok(())
}

/// Takes root's special rights, also those over files that are read-only, away from all programs that
/// this process will execute. Others have none.
fn drop_capabilities() -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    for capability in CapabilitySet::all().iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // A newer capability than this kernel knows, or a process that may not.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::PERM) | Ok(()) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let own = rustix::thread::capabilities(None)?;
    let sets = CapabilitySets {
        inheritable: CapabilitySet::empty(),
        ..own
    };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// Whether this kernel filters system calls: asked in a way that changes nothing.
fn has_seccomp() -> bool {
    rustix::thread::secure_computing_mode().is_ok()
}

/// System calls that are refused with `EPERM`.
fn refused() -> Vec<i64> {
    vec![
        // Sockets; pairs of connected ones are left.
        libc::SYS_socket,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_accept,
        libc::SYS_accept4,
        // Other processes.
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_process_madvise,
        libc::SYS_pidfd_getfd,
        libc::SYS_kcmp,
        // Namespaces and mounts.
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_fsopen,
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
        libc::SYS_fspick,
        libc::SYS_mount_setattr,
        // The kernel.
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_fanotify_init,
        libc::SYS_kexec_load,
        libc::SYS_kexec_file_load,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_acct,
        libc::SYS_quotactl,
        libc::SYS_syslog,
        libc::SYS_vhangup,
        // Files by number, past their directories.
        libc::SYS_name_to_handle_at,
        libc::SYS_open_by_handle_at,
        // Names and clocks of the machine.
        libc::SYS_settimeofday,
        libc::SYS_clock_settime,
        libc::SYS_adjtimex,
        libc::SYS_clock_adjtime,
        libc::SYS_sethostname,
        libc::SYS_setdomainname,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_iopl,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_ioperm,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_modify_ldt,
    ]
}

/// System calls that would leave the process group, by which a program is ended. The launcher needs
/// them for each.
fn refused_last() -> [i64; 2] {
    [libc::SYS_setsid, libc::SYS_setpgid]
}

/// System calls that seem to work and do nothing. Tools that copy modes and times along go on; inputs,
/// which are links to files of the run, stay as they are.
fn without_effect() -> Vec<i64> {
    vec![
        libc::SYS_fchmod,
        libc::SYS_fchmodat,
        SYS_FCHMODAT2,
        libc::SYS_fchown,
        libc::SYS_fchownat,
        libc::SYS_utimensat,
        libc::SYS_setxattr,
        libc::SYS_lsetxattr,
        libc::SYS_fsetxattr,
        SYS_SETXATTRAT,
        libc::SYS_removexattr,
        libc::SYS_lremovexattr,
        libc::SYS_fremovexattr,
        SYS_REMOVEXATTRAT,
        SYS_FILE_SETATTR,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chmod,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chown,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lchown,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_utime,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_utimes,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_futimesat,
    ]
}

// Newer than the libc crate; the same on every architecture.
const SYS_FCHMODAT2: i64 = 452;
const SYS_SETXATTRAT: i64 = 463;
const SYS_REMOVEXATTRAT: i64 = 466;
const SYS_FILE_SETATTR: i64 = 469;

/// Requests of `ioctl` that change attributes of files.
const FS_IOC_SETFLAGS: u64 = 0x4008_6602;
const FS_IOC_FSSETXATTR: u64 = 0x401c_5820;

/// Flags of `clone` that make namespaces.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWCGROUP,
];

fn filters() -> Result<Vec<BpfProgram>, seccompiler::Error> {
    let mut deny: BTreeMap<i64, Vec<SeccompRule>> = refused()
        .into_iter()
        .map(|call| (call, Vec::new()))
        .collect();
    let any_of = |argument, conditions: Vec<(SeccompCmpOp, u64)>| {
        conditions
            .into_iter()
            .map(|(operator, value)| {
                let length = SeccompCmpArgLen::Dword;
                let condition = SeccompCondition::new(argument, length, operator, value)?;
                SeccompRule::new(vec![condition])
            })
            .collect::<Result<Vec<_>, _>>()
    };
    let namespaces = NAMESPACES.map(|flag| {
        let flag = u64::from(flag.cast_unsigned());
        (SeccompCmpOp::MaskedEq(flag), flag)
    });
    deny.insert(libc::SYS_clone, any_of(0, namespaces.to_vec())?);
    let attributes = [FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR].map(|value| (SeccompCmpOp::Eq, value));
    deny.insert(libc::SYS_ioctl, any_of(1, attributes.to_vec())?);
    // Its flags are in memory, where no filter looks: the C library falls back to `clone`.
    let absent = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let ignore = without_effect().into_iter().map(|call| (call, Vec::new()));
    let lists = [
        (deny, libc::EPERM),
        (absent, libc::ENOSYS),
        (ignore.collect(), 0),
    ];
    lists
        .into_iter()
        .map(|(calls, errno)| filter(calls, errno))
        .collect()
}

fn last_filter() -> Result<BpfProgram, seccompiler::Error> {
    let calls = refused_last().map(|call| (call, Vec::new()));
    filter(calls.into(), libc::EPERM)
}

/// Answers these calls with that error, 0 for success.
fn filter(
    calls: BTreeMap<i64, Vec<SeccompRule>>,
    errno: i32,
) -> Result<BpfProgram, seccompiler::Error> {
    let architecture = std::env::consts::ARCH.try_into()?;
    let action = SeccompAction::Errno(errno.cast_unsigned());
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, action, architecture)?;
    Ok(BpfProgram::try_from(filter)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let full = Confinement {
            landlock: 7,
            seccomp: true,
        };
        assert!(full.is_full() && full.protects_inputs());
        assert!(
            full.to_string()
                .ends_with("Landlock 7 (files, TCP, signals), seccomp")
        );
        let old = Confinement {
            landlock: 3,
            seccomp: true,
        };
        assert!(!old.is_full() && old.protects_inputs());
        let none = Confinement::default();
        assert!(!none.protects_inputs());
        let text = none.to_string();
        assert!(
            text.contains("no Landlock") && text.contains("no seccomp"),
            "{text}"
        );
    }

    #[test]
    fn the_filters_compile() {
        assert_eq!(filters().expect("known calls").len(), 3);
        last_filter().expect("known calls");
    }
}
