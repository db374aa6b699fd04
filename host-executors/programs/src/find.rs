//! Where programs are, and what they need to read there.

use crate::confine::SYSTEM;
use rustix::fs::{Access, access};
use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// Why a program is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// No directory of the `PATH` has it.
    #[error("`{name}` is in no directory of the PATH")]
    OnPath {
        /// The program.
        name: String,
    },
    /// The path that the configuration gives leads to no program.
    #[error("programs.paths.{name} = \"{}\": {reason}", path.display())]
    AtPath {
        /// The program.
        name: String,
        /// The path.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
}

/// Finds a program: where the configuration says, or on the `PATH`.
pub fn find(name: &str, configured: Option<&Path>) -> Result<PathBuf, NotFound> {
    if let Some(path) = configured {
        let refuse = |reason| NotFound::AtPath {
            name: name.to_owned(),
            path: path.to_owned(),
            reason,
        };
        let path = std::path::absolute(path).map_err(|_| refuse("it is not a path"))?;
        if !path.is_file() {
            return Err(refuse("there is no such file"));
        }
        return match check(&path) {
            None => Ok(path),
            Some(reason) => Err(refuse(reason)),
        };
    }
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&on_path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|path| path.is_file() && check(path).is_none())
        .ok_or_else(|| NotFound::OnPath {
            name: name.to_owned(),
        })
}

/// Why a file is no program. One of another kind would be run by a shell, as the C library does it.
fn check(path: &Path) -> Option<&'static str> {
    let mut magic = [0; 4];
    if access(path, Access::EXEC_OK).is_err() {
        return Some("the file is not executable");
    }
    match File::open(path).and_then(|mut file| file.read_exact(&mut magic)) {
        // It may be executed without being read; the kernel will see what it is.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        Ok(()) if magic == *b"\x7fELF" || magic.starts_with(b"#!") => None,
        _ => Some("the file is neither an ELF program nor a script that begins with `#!`"),
    }
}

/// What a program outside of the system's directories may read: its installation. That is the
/// parent of a directory `bin`, unless that is the home of a user or the root; else the directory
/// alone that it is in.
pub fn reads_of(path: &Path) -> Vec<PathBuf> {
    let mut reads = Vec::new();
    let home = std::env::var_os("HOME").map(PathBuf::from);
    for place in [Some(path.to_owned()), path.canonicalize().ok()] {
        let Some(directory) = place.as_deref().and_then(Path::parent) else {
            continue;
        };
        // What every program may read.
        if SYSTEM.iter().any(|system| directory.starts_with(system)) {
            continue;
        }
        let installation = directory
            .parent()
            .filter(|_| directory.ends_with("bin"))
            .filter(|parent| parent.parent().is_some() && Some(*parent) != home.as_deref());
        let read = installation.unwrap_or(directory).to_owned();
        if !reads.contains(&read) {
            reads.push(read);
        }
    }
    reads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_on_the_path_or_where_they_are_said_to_be() {
        let cat = find("cat", None).expect("every system has it");
        assert!(cat.is_absolute() && cat.ends_with("cat"));
        assert_eq!(find("other-name", Some(&cat)), Ok(cat));
        let absent = find("no-such-program", None).expect_err("nobody has it");
        assert_eq!(
            absent.to_string(),
            "`no-such-program` is in no directory of the PATH"
        );
        let refused = |path: &str| {
            find("x", Some(Path::new(path)))
                .expect_err("no program")
                .to_string()
        };
        assert_eq!(
            refused("/no/such"),
            "programs.paths.x = \"/no/such\": there is no such file"
        );
        assert_eq!(
            refused("/etc/passwd"),
            "programs.paths.x = \"/etc/passwd\": the file is not executable"
        );
    }

    #[test]
    fn an_installation_is_read_and_a_home_is_not() {
        assert_eq!(reads_of(Path::new("/usr/bin/vina")), Vec::<PathBuf>::new());
        assert_eq!(
            reads_of(Path::new("/opt/vina-1/bin/vina")),
            [Path::new("/opt/vina-1")]
        );
        assert_eq!(
            reads_of(Path::new("/opt/tools/vina")),
            [Path::new("/opt/tools")]
        );
        assert_eq!(reads_of(Path::new("/bin2/vina")), [Path::new("/bin2")]);
        if let Some(home) = std::env::var_os("HOME").map(PathBuf::from) {
            let bin = home.join("bin");
            assert_eq!(reads_of(&bin.join("vina")), [bin]);
        }
    }
}
