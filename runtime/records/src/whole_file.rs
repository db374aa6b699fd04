//! Files that appear whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// A file under a temporary name beside its place, moved there by [`WholeFile::commit`] and
/// removed when dropped before.
#[derive(Debug)]
pub(crate) struct WholeFile {
    file: File,
    temporary: PathBuf,
    place: PathBuf,
    committed: bool,
}

impl WholeFile {
    pub(crate) fn create(place: &Path) -> io::Result<Self> {
        let mut name = std::ffi::OsString::from(".");
        name.push(place.file_name().unwrap_or_default());
        name.push(format!(".{}.partial", std::process::id()));
        let temporary = place.with_file_name(name);
        Ok(Self {
            file: File::create(&temporary)?,
            temporary,
            place: place.to_owned(),
            committed: false,
        })
    }

    /// Puts the file in its place, over a file that is there.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.place)?;
        self.committed = true;
        Ok(())
    }

    /// Writes a file whole.
    pub(crate) fn write_all_to(place: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = Self::create(place)?;
        file.write_all(bytes)?;
        file.commit()
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
