//! The images that go into a mosaic: files of a directory, or generated ones.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use taps::{Argument, Bytes, Engine, Error, Future, InputDir, Payload, Result};

use crate::BadImages;
use crate::fits::{self, Header};

/// Longest name that a program is given: paths beyond some 227 bytes make it abort.
const LONGEST_NAME: usize = 120;
/// What Montage takes for an area image, and leaves out of tables.
const AREA: &str = "_area.fits";

/// An image of the sky.
pub(crate) struct Exposure {
    /// Name of its file, for people.
    pub(crate) file: String,
    /// Name under which the programs see it; unique, and short enough.
    pub(crate) name: String,
    data: Data,
}

enum Data {
    File(Payload),
    Generated(Future<Bytes>),
}

impl Exposure {
    /// A generated image.
    pub(crate) fn generated(name: String, image: Future<Bytes>) -> Self {
        Self {
            file: name.clone(),
            name,
            data: Data::Generated(image),
        }
    }

    /// The image as an argument of a call.
    pub(crate) fn argument(&self) -> Argument {
        match &self.data {
            Data::File(payload) => Argument::Payload(payload.clone()),
            Data::Generated(image) => image.as_argument(),
        }
    }

    /// Name of the projected image.
    pub(crate) fn projected_name(&self) -> String {
        format!("hdu0_{}", self.name)
    }
}

/// The images of a directory, and how many were left out because they are none.
pub(crate) struct Listing {
    pub(crate) exposures: Vec<Exposure>,
    pub(crate) left_out: u64,
}

/// All FITS files of a directory, sorted by the bytes of their names. Each is looked at before
/// anything is computed: one that is not a FITS image, or not all of one, is an error that names
/// it, or left out.
pub(crate) fn list(engine: &Engine, directory: &InputDir, bad: BadImages) -> Result<Listing> {
    let paths = fits_files(directory)?;
    let mut listing = Listing {
        exposures: Vec::new(),
        left_out: 0,
    };
    let mut names = BTreeSet::new();
    let files: Vec<String> = paths.iter().map(|path| file_name(path)).collect();
    for (path, file) in paths.iter().zip(&files) {
        let checked = open(engine, path).and_then(|payload| {
            check(&payload)?;
            Ok(payload)
        });
        match checked {
            Ok(payload) => {
                let name = program_name(file, listing.exposures.len(), &files, &mut names);
                listing.exposures.push(Exposure {
                    file: file.clone(),
                    name,
                    data: Data::File(payload),
                });
            }
            Err(error) if bad == BadImages::Skip => {
                taps::warn!("{file} is left out: {error}");
                listing.left_out += 1;
            }
            Err(error) => return Err(named(file, &error)),
        }
    }
    if listing.exposures.is_empty() {
        let expected = "a directory with at least one FITS image that is whole";
        return Err(Error::config("img_folder", directory, expected));
    }
    // The order of the programs' tables: that of the names that they see.
    listing.exposures.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listing)
}

/// The error of a file, with its name and what can be done about it.
fn named(file: &str, error: &Error) -> Error {
    let hint = "fetch it again, remove it, or set bad_images = skip";
    Error::app(error.kind(), format!("{file}: {error}; hint: {hint}"))
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// Paths of the FITS files directly in a directory. What an archive from another system leaves
/// beside them (`._name`) is hidden, and left out, as is the area image of another file.
fn fits_files(directory: &InputDir) -> Result<Vec<PathBuf>> {
    let unreadable = |error: std::io::Error| {
        let expected = format!("a directory that can be read ({error})");
        Error::config("img_folder", directory, expected)
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(Path::new(directory.path())).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let lower = file_name(&path).to_lowercase();
        let fits = [".fits", ".fit"].iter().any(|end| lower.ends_with(end));
        if fits && !lower.starts_with('.') && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    let files: BTreeSet<String> = paths.iter().map(|path| file_name(path)).collect();
    paths.retain(|path| {
        let file = file_name(path);
        let image = file.strip_suffix(AREA).map(|image| format!("{image}.fits"));
        let area = image.is_some_and(|image| files.contains(&image));
        if area {
            taps::info!("{file} is left out: it is the area image of another file");
        }
        !area
    });
    if paths.is_empty() {
        let expected = "a directory with at least one FITS file (*.fits, *.fit)";
        return Err(Error::config("img_folder", directory, expected));
    }
    Ok(paths)
}

fn open(engine: &Engine, path: &Path) -> Result<Payload> {
    let text = path
        .to_str()
        .ok_or_else(|| Error::app("BadFits", "its name is not UTF-8"))?;
    engine.input_file(text)
}

/// Checks that a file is a FITS image, and whole. What is compressed only the programs can tell.
fn check(payload: &Payload) -> Result<()> {
    if fits::is_gzip(payload)? {
        return Ok(());
    }
    let header = Header::read(payload)?;
    header.whole_shape(payload.size()).map(drop)
}

/// The name under which the programs see a file: its own, if they can cope with it.
fn program_name(
    file: &str,
    number: usize,
    files: &[String],
    taken: &mut BTreeSet<String>,
) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
    let good = file.bytes().all(plain)
        && file.starts_with(|first: char| first.is_ascii_alphanumeric())
        && file.rsplit_once('.').is_some_and(|(_, end)| end == "fits")
        && !file.ends_with(AREA)
        && file.len() <= LONGEST_NAME;
    let mut name = if good {
        file.to_owned()
    } else {
        format!("image{number:06}.fits")
    };
    while !good && (taken.contains(&name) || files.contains(&name)) {
        name.insert(0, 'x');
    }
    if !good {
        taps::info!("{file} is called {name} where the programs see it");
    }
    taken.insert(name.clone());
    name
}
