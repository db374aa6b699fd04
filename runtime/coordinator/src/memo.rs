//! Results of pure tasks, kept from run to run.
//!
//! The key of a result is SHA-256 of all that it depends on: this program's version, the component, the
//! task, its seed, who computes linear algebra, and of each argument either its bytes (those that the
//! driver made, and granted files) or the key of the result that it is. A task with an argument that has
//! no key has none either. A file holds the outputs of one task:
//!
//! ```text
//!  "TAPSMEMO" │ version u32 │ count u32 │ length u64 of each │ SHA-256 of the rest │ bytes …
//! ```

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};
use taps_engine::{Output, OutputId, TaskId, core::PayloadKey};
use taps_payload::{FileRef, Location, SegmentStore};

const MAGIC: &[u8; 8] = b"TAPSMEMO";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;
/// Outputs that a file may claim to hold.
const MAX_OUTPUTS: u32 = 1 << 16;

/// What identifies a result.
pub(crate) type Key = [u8; DIGEST_BYTES];

/// A directory of results, shared by runs.
#[derive(Debug)]
pub struct Memo {
    directory: PathBuf,
    /// Digests of the app's components, in their order.
    components: Vec<String>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    results: HashMap<TaskId, Key>,
    held: HashMap<PayloadKey, Key>,
    files: HashMap<FileRef, Key>,
}

/// What a memo knows of a task that is about to be submitted.
pub(crate) struct Memoized {
    /// Under which its result is, or will be.
    pub(crate) key: Key,
    /// Its result, if an earlier run had it.
    pub(crate) outputs: Option<Vec<Output>>,
}

/// A task that is about to be submitted, as far as its result depends on it.
pub(crate) struct Asked<'a> {
    pub(crate) component: u32,
    pub(crate) name: &'a str,
    pub(crate) seed: u64,
    pub(crate) host_kernels: bool,
    /// A key for each argument.
    pub(crate) arguments: Vec<Key>,
}

impl Memo {
    /// Results in that directory, which is made, of an app with these components.
    pub fn open(directory: PathBuf, components: Vec<String>) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        Ok(Self {
            directory,
            components,
            known: Mutex::default(),
        })
    }

    /// Remembers what a payload of the driver is.
    pub(crate) fn hold(&self, payload: PayloadKey, key: Key) {
        self.known.lock().held.insert(payload, key);
    }

    /// Remembers what a task gives, so that tasks which take it have a key.
    pub(crate) fn gives(&self, task: TaskId, key: Key) {
        self.known.lock().results.insert(task, key);
    }

    /// The key of what a task gives.
    pub(crate) fn of(&self, task: TaskId) -> Option<Key> {
        self.known.lock().results.get(&task).copied()
    }

    /// The key of an output of a task.
    pub(crate) fn of_output(&self, output: OutputId) -> Option<Key> {
        let key = self.of(output.task)?;
        let mut hasher = Sha256::new();
        hasher.update(key);
        hasher.update(output.index.to_le_bytes());
        Some(hasher.finalize().into())
    }

    /// The key of a payload that the driver holds.
    pub(crate) fn of_held(&self, payload: PayloadKey) -> Option<Key> {
        self.known.lock().held.get(&payload).copied()
    }

    /// The key of bytes that the driver made, or of a granted file.
    pub(crate) fn of_bytes(&self, location: &Location, store: &SegmentStore) -> Option<Key> {
        match location {
            Location::Inline(bytes) => Some(Sha256::digest(bytes).into()),
            Location::Segment(segment) => {
                let segment = store.get(segment.id)?;
                let bytes = taps_sandbox::stored::bytes_of(&segment).ok()?;
                Some(Sha256::digest(&bytes).into())
            }
            Location::File(file) => self.of_file(file),
            Location::Stored(_) | Location::Engine { .. } => None,
        }
    }

    fn of_file(&self, file: &FileRef) -> Option<Key> {
        if let Some(key) = self.known.lock().files.get(file) {
            return Some(*key);
        }
        let mut hasher = Sha256::new();
        let mut source = fs::File::open(&*file.path).ok()?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match source.read(&mut buffer).ok()? {
                0 => break,
                read => hasher.update(&buffer[..read]),
            }
        }
        let key = hasher.finalize().into();
        self.known.lock().files.insert(file.clone(), key);
        Some(key)
    }

    /// The key of a task's result.
    pub(crate) fn key(&self, asked: &Asked<'_>) -> Option<Key> {
        let component = self.components.get(asked.component as usize)?;
        let mut hasher = Sha256::new();
        for text in [env!("CARGO_PKG_VERSION"), component, asked.name] {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
        hasher.update(asked.seed.to_le_bytes());
        hasher.update([u8::from(asked.host_kernels)]);
        for argument in &asked.arguments {
            hasher.update(argument);
        }
        Some(hasher.finalize().into())
    }

    fn path(&self, key: &Key) -> PathBuf {
        let name = hex::encode(key);
        self.directory.join(&name[..2]).join(name)
    }

    /// The outputs under a key, if they are there and whole. Large ones are put into the store.
    pub(crate) fn load(&self, key: &Key, store: &SegmentStore, inline: u64) -> Option<Vec<Output>> {
        let path = self.path(key);
        let Ok(pieces) = read(&mut fs::File::open(&path).ok()?) else {
            // Makes room for the result that is computed now.
            let _ = fs::remove_file(&path);
            return None;
        };
        let outputs = pieces.into_iter().map(|bytes| {
            let location = if bytes.len() as u64 <= inline {
                Location::Inline(bytes.into())
            } else {
                let mut segment = store.create(bytes.len() as u64).ok()?;
                segment.write_at(0, &bytes).ok()?;
                Location::Segment(store.publish(segment).ok()?.reference())
            };
            Some(Output { location })
        });
        outputs.collect()
    }

    /// Keeps outputs under a key. Those of them that are not in memory cannot be kept.
    pub(crate) fn keep(
        &self,
        key: &Key,
        outputs: &[Output],
        store: &SegmentStore,
    ) -> io::Result<()> {
        let path = self.path(key);
        if path.exists() {
            return Ok(());
        }
        let mut pieces = Vec::with_capacity(outputs.len());
        for output in outputs {
            pieces.push(match &output.location {
                Location::Inline(bytes) => bytes::Bytes::from_owner(Arc::clone(bytes)),
                Location::Segment(segment) => match store.get(segment.id) {
                    Some(segment) => taps_sandbox::stored::bytes_of(&segment)?,
                    None => return Ok(()),
                },
                _ => return Ok(()),
            });
        }
        write(&path, &pieces)
    }
}

fn write(path: &Path, pieces: &[bytes::Bytes]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // Of this process alone, and in the same folder: the file appears when it is whole.
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    let mut head = Vec::from(*MAGIC);
    head.extend(VERSION.to_le_bytes());
    head.extend((pieces.len() as u32).to_le_bytes());
    let mut hasher = Sha256::new();
    for piece in pieces {
        head.extend((piece.len() as u64).to_le_bytes());
        hasher.update(piece);
    }
    head.extend(hasher.finalize());
    let written = fs::File::create(&partial).and_then(|mut file| {
        file.write_all(&head)?;
        pieces.iter().try_for_each(|piece| file.write_all(piece))?;
        fs::rename(&partial, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written
}

/// The pieces of a file. Whatever it says of itself, no more is read than it has.
fn read(file: &mut impl Read) -> io::Result<Vec<Vec<u8>>> {
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let mut head = [0; HEADER_BYTES];
    file.read_exact(&mut head)?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (version, count) = (word(8), word(12));
    if head[..8] != *MAGIC || version != VERSION || count > MAX_OUTPUTS {
        return Err(damaged());
    }
    let mut lengths = vec![0; count as usize * 8];
    file.read_exact(&mut lengths)?;
    let mut digest = [0; DIGEST_BYTES];
    file.read_exact(&mut digest)?;
    let mut hasher = Sha256::new();
    let mut pieces = Vec::with_capacity(count as usize);
    for length in lengths.chunks_exact(8) {
        let length = length
            .try_into()
            .map(u64::from_le_bytes)
            .map_err(|_| damaged())?;
        let mut piece = Vec::new();
        file.by_ref().take(length).read_to_end(&mut piece)?;
        if piece.len() as u64 != length {
            return Err(damaged());
        }
        hasher.update(&piece);
        pieces.push(piece);
    }
    let whole = file.read(&mut [0])? == 0;
    if !whole || hasher.finalize()[..] != digest {
        return Err(damaged());
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use taps_payload::StoreOptions;

    fn store() -> SegmentStore {
        let options = StoreOptions {
            huge_pages: false,
            ..StoreOptions::default()
        };
        SegmentStore::new(options).expect("memfds work")
    }

    fn inline(bytes: &[u8]) -> Output {
        Output {
            location: Location::Inline(bytes.into()),
        }
    }

    #[test]
    fn what_is_kept_comes_back_and_damage_is_noticed() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let memo = Memo::open(folder.path().join("memo"), vec!["c".into()]).expect("it is made");
        let store = store();
        let key = [7; DIGEST_BYTES];
        assert_eq!(memo.load(&key, &store, 100), None);
        let outputs = [inline(b"first"), inline(&[3; 50]), inline(b"")];
        memo.keep(&key, &outputs, &store).expect("there is room");
        assert_eq!(memo.load(&key, &store, 100).as_deref(), Some(&outputs[..]));
        let large = memo.load(&key, &store, 10).expect("it is there");
        assert!(matches!(&large[1].location, Location::Segment(segment) if segment.len == 50));

        let path = memo.path(&key);
        let whole = fs::read(&path).expect("it is there");
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(read(&mut &damaged[..]).is_err(), "byte {at}");
            assert!(read(&mut &whole[..at]).is_err(), "cut at {at}");
        }
        assert!(read(&mut &[&whole[..], b"x"].concat()[..]).is_err());
    }

    #[test]
    fn keys_tell_everything_apart() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let components = vec!["one".into(), "two".into()];
        let memo = Memo::open(folder.path().to_owned(), components).expect("it is made");
        let asked = |component, name, seed, host_kernels, arguments: &[Key]| {
            memo.key(&Asked {
                component,
                name,
                seed,
                host_kernels,
                arguments: arguments.to_vec(),
            })
        };
        let (a, b) = ([1; DIGEST_BYTES], [2; DIGEST_BYTES]);
        let keys = [
            asked(0, "task", 1, true, &[a, b]),
            asked(1, "task", 1, true, &[a, b]),
            asked(0, "tasks", 1, true, &[a, b]),
            asked(0, "task", 2, true, &[a, b]),
            asked(0, "task", 1, false, &[a, b]),
            asked(0, "task", 1, true, &[b, a]),
            asked(0, "task", 1, true, &[a]),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(key.is_some() && !keys[..index].contains(key), "{index}");
        }
        assert_eq!(asked(2, "task", 1, true, &[]), None, "no such component");
        memo.gives(TaskId(4), a);
        let output = |index| OutputId {
            task: TaskId(4),
            index,
        };
        assert_ne!(memo.of_output(output(0)), memo.of_output(output(1)));
    }
}
