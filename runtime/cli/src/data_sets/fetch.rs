//! Bringing a data set to a directory.

use super::{
    differs,
    record::{Digests, Record, Recorded, digests},
    sets::{DataSet, RemoteFile},
};
use crate::{
    download::download,
    exit::{ExitCode, Failure},
    render,
};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// Brings a data set to a directory, and records what it is.
pub(super) fn fetch(set: &DataSet, to: &Path, from: Option<&str>) -> Result<ExitCode, Failure> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        let error = format!("{}: {what} {}: {error}", set.name, to.display());
        Failure::new(ExitCode::Records, error)
    };
    if let Some(record) = Record::read(to, set)?
        && record.check(to).is_ok()
    {
        render::data(&format!("{}: already in {}\n", set.name, to.display()))?;
        return Ok(ExitCode::Ok);
    }
    fs::create_dir_all(to).map_err(|error| failed("make", &error))?;
    let mut record = Record {
        set: set.name.to_owned(),
        from: Vec::new(),
        files: Vec::new(),
    };
    for file in set.files {
        let url = match from {
            Some(mirror) => format!("{}/{}", mirror.trim_end_matches('/'), file.name()),
            None => file.url.to_owned(),
        };
        let path = to.join(file.name());
        let there = file
            .md5
            .and_then(|md5| digests(&path).ok().filter(|found| found.md5 == md5));
        let found = if let Some(found) = there {
            found
        } else {
            bring(set, &url, &path)?;
            digests(&path).map_err(|error| failed("read back in", &error))?
        };
        if let Some(md5) = file.md5
            && found.md5 != md5
        {
            let failure = differs(&path, "MD5", md5, &found.md5);
            fs::remove_file(&path).map_err(|error| failed("remove from", &error))?;
            return Err(failure);
        }
        record.from.push(url);
        let kept = keep(file, &path, found, to).map_err(|error| failed("unpack into", &error))?;
        record.files.extend(kept);
    }
    record
        .write(to)
        .map_err(|error| failed("write the record in", &error))?;
    let count = record.files.len();
    let bytes: u64 = record.files.iter().map(|file| file.bytes).sum();
    let text = format!(
        "{}: {count} files, {bytes} bytes in {}\n",
        set.name,
        to.display()
    );
    render::data(&text)?;
    Ok(ExitCode::Ok)
}

/// What a file that was fetched leaves in the directory: itself, or what is packed in it.
fn keep(file: &RemoteFile, path: &Path, found: Digests, to: &Path) -> io::Result<Vec<Recorded>> {
    if file.archive {
        let unpacked = unpack(path, to)?;
        fs::remove_file(path)?;
        return Ok(unpacked);
    }
    Ok(vec![Recorded {
        path: file.name().to_owned(),
        bytes: found.bytes,
        sha256: found.sha256,
    }])
}

/// Unpacks the plain files of an archive; those that would lead out of the directory, and links, are left out.
fn unpack(path: &Path, to: &Path) -> io::Result<Vec<Recorded>> {
    let file = File::open(path)?;
    let packed: Box<dyn Read> = if path.extension().is_some_and(|end| end == "gz") {
        Box::new(flate2::read::MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut recorded = Vec::new();
    for entry in tar::Archive::new(packed).entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() || !entry.unpack_in(to)? {
            continue;
        }
        let path = entry.path()?.to_string_lossy().into_owned();
        let Digests { bytes, sha256, .. } = digests(&to.join(&path))?;
        recorded.push(Recorded {
            path,
            bytes,
            sha256,
        });
    }
    Ok(recorded)
}

/// Brings one file, under its name when it is whole.
fn bring(set: &DataSet, url: &str, path: &Path) -> Result<(), Failure> {
    let partial = path.with_added_extension("partial");
    let unwritable = |error: io::Error| {
        let text = format!("write {}: {error}", partial.display());
        io::Error::other(text)
    };
    let fetched = File::create(&partial)
        .map_err(unwritable)
        .and_then(|mut file| {
            download(url, &mut file, None)?;
            file.sync_all()?;
            fs::rename(&partial, path)
        });
    fetched.map_err(|error| {
        // Half of a file is none.
        let _ = fs::remove_file(&partial);
        let names: Vec<&str> = set.files.iter().map(RemoteFile::name).collect();
        Failure::new(ExitCode::Runtime, format!("{}: {error}", set.name)).hint(format!(
            "without a network, bring {} here from elsewhere, or name a mirror with --from",
            names.join(", ")
        ))
    })
}
