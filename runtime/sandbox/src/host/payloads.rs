//! Interface `payloads`.

use super::interface;
use crate::{
    DriverHost, LogLevel, PayloadOrigin, State,
    host::program::Given,
    memory::{Range, lend_mut},
    programs::MadeFile,
    stored, windows,
    wire::PayloadError,
};
use std::sync::Arc;
use taps_engine::AttemptId;
use taps_payload::{
    FileError, FilePayload, Location, Segment, StoreError, Transfer, Way, WindowError, WindowKey,
};
use taps_transform::{Resolved, Ticket, TransformError};
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource, ResourceType, WasmList},
};

pub(super) type Store<'a> = StoreContextMut<'a, State>;
pub(super) type Answer<T> = wasmtime::Result<(Result<T, PayloadError>,)>;

/// A payload as a guest holds it.
pub(crate) struct PayloadHandle {
    location: Location,
    media_type: Arc<str>,
    bytes: Option<Bytes>,
    /// Where a transformer fetches the bytes already.
    ticket: Option<Ticket>,
    /// Copies that the host made to have the bytes here.
    fetch_copies: u8,
    attached: Attached,
    /// Which argument of the attempt this is, for the record.
    argument: Option<(AttemptId, usize)>,
    /// Told when the handle is dropped, where a driver holds it.
    owner: Option<Owner>,
    /// The file, where a program of this attempt made it.
    made: Option<MadeFile>,
}

/// The bytes of a payload, opened.
enum Bytes {
    Inline(Arc<[u8]>),
    Segment(Arc<Segment>),
    File(FilePayload),
}

enum Attached {
    No,
    Window(WindowKey),
    /// Read into the window, because it cannot be mapped.
    Read,
}

impl PayloadHandle {
    pub(crate) fn argument(
        location: Location,
        media_type: Arc<str>,
        attempt: AttemptId,
        index: usize,
    ) -> Self {
        Self {
            argument: Some((attempt, index)),
            ..Self::of(location, media_type)
        }
    }

    /// A file that a program made.
    pub(super) fn made(location: Location, made: MadeFile) -> Self {
        Self {
            made: Some(made),
            ..Self::of(location, Arc::from(""))
        }
    }

    /// The file that a program made, if it is one and was not taken before.
    pub(super) fn take_made(&mut self) -> Option<MadeFile> {
        self.made.take()
    }

    fn of(location: Location, media_type: Arc<str>) -> Self {
        Self {
            location,
            media_type,
            bytes: None,
            ticket: None,
            fetch_copies: 0,
            attached: Attached::No,
            argument: None,
            owner: None,
            made: None,
        }
    }

    pub(crate) fn with_ticket(mut self, ticket: Option<Ticket>) -> Self {
        self.ticket = ticket;
        self
    }

    pub(crate) fn of_driver(
        location: Location,
        media_type: Arc<str>,
        origin: PayloadOrigin,
        owner: Arc<dyn DriverHost>,
    ) -> Self {
        Self {
            owner: Some(Owner {
                origin,
                host: owner,
            }),
            ..Self::of(location, media_type)
        }
    }

    /// Where a driver has the payload from.
    pub(crate) fn origin(&self) -> Option<PayloadOrigin> {
        self.owner.as_ref().map(|owner| owner.origin)
    }
}

/// Where a driver has a payload from, which is told when the driver drops it.
struct Owner {
    origin: PayloadOrigin,
    host: Arc<dyn DriverHost>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.host.release_payload(self.origin);
    }
}

impl State {
    /// Opens a payload's bytes the first time they are needed.
    fn open(
        &mut self,
        handle: &Resource<PayloadHandle>,
    ) -> wasmtime::Result<Result<&Bytes, PayloadError>> {
        let store = self.run.store.clone();
        if self.is_unfetched(handle)?
            && let Err(error) = self.fetch(handle)?
        {
            return Ok(Err(error));
        }
        let payload = self.table.get_mut(handle)?;
        if payload.bytes.is_none() {
            let opened = match &payload.location {
                Location::Inline(bytes) => Ok(Bytes::Inline(Arc::clone(bytes))),
                Location::Segment(segment) => store
                    .get(segment.id)
                    .map(Bytes::Segment)
                    .ok_or_else(|| Unreadable::lost(format!("segment {} is gone", segment.id.0))),
                Location::File(file) => FilePayload::open(file)
                    .map(Bytes::File)
                    .map_err(|error| Unreadable::file(&error)),
                Location::Stored(stored) => Err(Unreadable::here(format!(
                    "payload {} was not fetched",
                    stored.key
                ))),
                Location::Engine { key, .. } => Err(Unreadable::here(format!(
                    "payload {key} was not fetched from the engine"
                ))),
            };
            match opened {
                Ok(bytes) => payload.bytes = Some(bytes),
                Err(why) => return Ok(Err(self.unreadable(handle, why)?)),
            }
        }
        Ok(self
            .table
            .get(handle)?
            .bytes
            .as_ref()
            .ok_or(PayloadError::Io))
    }

    fn is_unfetched(&self, handle: &Resource<PayloadHandle>) -> wasmtime::Result<bool> {
        let payload = self.table.get(handle)?;
        Ok(payload.bytes.is_none() && matches!(payload.location, Location::Stored(_)))
    }

    /// Brings the bytes of a payload here from the transformer's store. A cancel or the deadline of the
    /// attempt ends the wait, and the guest.
    pub(crate) fn fetch(
        &mut self,
        handle: &Resource<PayloadHandle>,
    ) -> wasmtime::Result<Result<(), PayloadError>> {
        let (run, control) = (Arc::clone(&self.run), self.control.clone());
        let payload = self.table.get_mut(handle)?;
        let Location::Stored(reference) = &payload.location else {
            return Ok(Ok(()));
        };
        let ticket = match (payload.ticket.take(), &run.data) {
            (Some(ticket), _) => ticket,
            (None, Some(plane)) => plane.prefetch(reference, self.caller),
            (None, None) => {
                self.payload_failure = Some(format!(
                    "payload {}: the run has no transformer",
                    reference.key
                ));
                return Ok(Err(PayloadError::Io));
            }
        };
        let bytes = match ticket.wait(&|| control.check().is_ok()) {
            Ok(Resolved::Bytes(bytes)) => Bytes::Inline(bytes),
            Ok(Resolved::Segment(segment)) => Bytes::Segment(segment),
            Err(error) => {
                if let (TransformError::Interrupted(_), Err(why)) = (&error, control.check()) {
                    self.interrupted = Some(why);
                    return Err(why.into());
                }
                let reason = error.to_string();
                if self.role.attempt().is_none() {
                    // A driver is only told that it failed.
                    run.sink.log(self.speaker(), LogLevel::Error, &reason);
                }
                let lost = stored::is_lost(&error);
                return Ok(Err(self.unreadable(handle, Unreadable { reason, lost })?));
            }
        };
        payload.bytes = Some(bytes);
        payload.fetch_copies = ticket.copies();
        self.note_transfer(handle, Way::Stored, 0, 0)?;
        Ok(Ok(()))
    }

    /// Reads into host or guest memory and notes how the bytes travelled.
    fn read_payload(
        &mut self,
        handle: &Resource<PayloadHandle>,
        offset: u64,
        buffer: &mut [u8],
        copies: u8,
    ) -> wasmtime::Result<Result<usize, PayloadError>> {
        let control = self.control.clone();
        let mut done = 0;
        loop {
            if let Err(error) = control.check() {
                self.interrupted = Some(error);
                return Err(error.into());
            }
            let end = buffer.len().min(done + PIECE_BYTES);
            let piece = &mut buffer[done..end];
            let wanted = piece.len();
            let read = match self.open(handle)? {
                Ok(bytes) => bytes.read_at(offset + done as u64, piece),
                Err(error) => return Ok(Err(error)),
            };
            let read = match read {
                Ok(read) => read,
                Err(why) => return Ok(Err(self.unreadable(handle, why)?)),
            };
            done += read;
            if read < wanted || done == buffer.len() {
                break;
            }
        }
        self.note_transfer(handle, Way::Read, done as u64, copies)?;
        Ok(Ok(done))
    }

    /// The bytes of a payload for a program; none where they cannot be read, and why is noted. Files
    /// and segments go as they are.
    pub(super) fn give_to_program(
        &mut self,
        handle: &Resource<PayloadHandle>,
    ) -> wasmtime::Result<Option<Given>> {
        let given = match self.open(handle)? {
            Ok(Bytes::Inline(bytes)) => Given::Bytes(Arc::clone(bytes)),
            Ok(Bytes::Segment(segment)) => Given::Segment(Arc::clone(segment)),
            Ok(Bytes::File(file)) => Given::File(file.reference().clone()),
            Err(_) => return Ok(None),
        };
        let size = self.table.get(handle)?.location.len();
        let (way, copies) = match given {
            Given::File(_) => (Way::Linked, 0),
            Given::Bytes(_) | Given::Segment(_) => (Way::Copied, 1),
        };
        self.note_transfer(handle, way, size, copies)?;
        Ok(Some(given))
    }

    /// Notes why an argument has no bytes.
    fn unreadable(
        &mut self,
        handle: &Resource<PayloadHandle>,
        why: Unreadable,
    ) -> wasmtime::Result<PayloadError> {
        self.payload_failure = Some(why.reason);
        let current = self.role.attempt();
        let argument = self.table.get(handle)?.argument;
        if let Some((_, index)) = argument.filter(|(id, _)| why.lost && current == Some(*id)) {
            let position = index as u32;
            if !self.lost_inputs.contains(&position) {
                self.lost_inputs.push(position);
            }
        }
        Ok(PayloadError::Io)
    }

    fn note_transfer(
        &mut self,
        handle: &Resource<PayloadHandle>,
        way: Way,
        moved: u64,
        copies: u8,
    ) -> wasmtime::Result<()> {
        let payload = self.table.get(handle)?;
        let is_stored = matches!(payload.location, Location::Stored(_));
        let (way, copies) = if is_stored {
            (Way::Stored, copies + payload.fetch_copies)
        } else {
            (way, copies)
        };
        // A reused sandbox may still hold a payload of an earlier attempt.
        let current = self.role.attempt();
        let argument = payload.argument.filter(|(id, _)| current == Some(*id));
        if let Some(transfer) = argument.and_then(|(_, index)| self.inputs.get_mut(index)) {
            *transfer = Transfer {
                bytes: transfer.bytes,
                bytes_moved: transfer.bytes_moved + moved,
                way,
                copies: transfer.copies.max(copies),
            };
        }
        Ok(())
    }
}

/// Bytes read or written between two looks at the attempt's control: a few milliseconds' worth.
const PIECE_BYTES: usize = 8 << 20;

/// Why the bytes of a payload cannot be read.
struct Unreadable {
    reason: String,
    /// They are gone or damaged: nobody else can read them either.
    lost: bool,
}

impl Unreadable {
    fn lost(reason: String) -> Self {
        Self { reason, lost: true }
    }

    /// Not from here, not now.
    fn here(reason: String) -> Self {
        Self {
            reason,
            lost: false,
        }
    }

    fn file(error: &FileError) -> Self {
        Self {
            reason: error.to_string(),
            lost: stored::is_file_lost(error),
        }
    }
}

impl Bytes {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Unreadable> {
        match self {
            Self::Inline(bytes) => {
                let rest = usize::try_from(offset)
                    .ok()
                    .and_then(|from| bytes.get(from..));
                let rest = rest.unwrap_or(&[]);
                let len = rest.len().min(buffer.len());
                buffer[..len].copy_from_slice(&rest[..len]);
                Ok(len)
            }
            Self::Segment(segment) => segment
                .read_at(offset, buffer)
                .map_err(|error| Unreadable::here(error.to_string())),
            Self::File(file) => file
                .read_at(offset, buffer)
                .map_err(|error| Unreadable::file(&error)),
        }
    }
}

fn read(
    mut store: Store<'_>,
    (handle, offset, length): (Resource<PayloadHandle>, u64, u32),
) -> Answer<Vec<u8>> {
    let state = store.data_mut();
    let size = state.table.get(&handle)?.location.len();
    if offset > size {
        return Ok((Err(PayloadError::OutOfRange),));
    }
    let mut buffer = vec![0; u64::from(length).min(size - offset) as usize];
    let read = state.read_payload(&handle, offset, &mut buffer, 2)?;
    Ok((read.map(|read| {
        buffer.truncate(read);
        buffer
    }),))
}

fn read_into(
    mut store: Store<'_>,
    (handle, offset, buffer): (Resource<PayloadHandle>, u64, WasmList<u8>),
) -> Answer<u64> {
    if offset > store.data().table.get(&handle)?.location.len() {
        return Ok((Err(PayloadError::OutOfRange),));
    }
    let read = lend_mut(&mut store, &buffer, |state, bytes| {
        state.read_payload(&handle, offset, bytes, 1)
    })?;
    Ok((read.map(|read| read as u64),))
}

fn attach(
    mut store: Store<'_>,
    (handle, window): (Resource<PayloadHandle>, WasmList<u8>),
) -> Answer<u64> {
    let range = Range::of(&window, &store);
    let state = store.data_mut();
    let payload = state.table.get(&handle)?;
    if !matches!(payload.attached, Attached::No) {
        return Ok((Err(PayloadError::WrongState),));
    }
    let size = payload.location.len();
    if size > range.len as u64 {
        return Ok((Err(PayloadError::WindowTooSmall),));
    }
    let maps = state.maps && size >= state.run.map_min_bytes;
    let segment = match state.open(&handle)? {
        Ok(Bytes::Segment(segment)) if maps && segment.is_mappable() => Some(Arc::clone(segment)),
        Ok(_) => None,
        Err(error) => return Ok((Err(error),)),
    };
    let Some(segment) = segment else {
        return attach_by_reading(&mut store, &handle, &window, size);
    };
    match windows::attach_input(state, range, &segment) {
        Ok((key, offset)) => {
            state.table.get_mut(&handle)?.attached = Attached::Window(key);
            state.note_transfer(&handle, Way::Mapped, size, 0)?;
            Ok((Ok(offset),))
        }
        Err(error) => Ok((Err(state.window_error(&error)),)),
    }
}

/// Files and small inline payloads are read where a segment would be mapped; in a profile without
/// windows, everything is.
fn attach_by_reading(
    store: &mut Store<'_>,
    handle: &Resource<PayloadHandle>,
    window: &WasmList<u8>,
    size: u64,
) -> Answer<u64> {
    let outcome = lend_mut(store, window, |state, bytes| {
        match state.read_payload(handle, 0, &mut bytes[..size as usize], 1)? {
            Ok(read) if read as u64 == size => {}
            Ok(_) => return Ok(Err(PayloadError::Io)),
            Err(error) => return Ok(Err(error)),
        }
        state.table.get_mut(handle)?.attached = Attached::Read;
        Ok::<_, wasmtime::Error>(Ok(0))
    })?;
    Ok((outcome,))
}

fn detach(mut store: Store<'_>, (handle,): (Resource<PayloadHandle>,)) -> Answer<()> {
    let state = store.data_mut();
    let payload = state.table.get_mut(&handle)?;
    let attached = std::mem::replace(&mut payload.attached, Attached::No);
    let answer = match attached {
        Attached::No => Err(PayloadError::WrongState),
        Attached::Read => Ok(()),
        Attached::Window(key) => state
            .windows
            .detach(key)
            .map_err(|error| state.window_error(&error)),
    };
    Ok((answer,))
}

fn drop_payload(mut store: Store<'_>, index: u32) -> wasmtime::Result<()> {
    let state = store.data_mut();
    let payload = state
        .table
        .delete(Resource::<PayloadHandle>::new_own(index))?;
    if let Attached::Window(key) = payload.attached {
        // Gone already where a reused sandbox kept the handle from an earlier attempt.
        let _ = state.windows.detach(key);
    }
    Ok(())
}

fn reserve(mut store: Store<'_>, (size,): (u64,)) -> Answer<()> {
    let announced = store.data_mut().memory.announce(size);
    Ok((if announced {
        Ok(())
    } else {
        Err(PayloadError::WindowLimit)
    },))
}

impl State {
    pub(super) fn window_error(&mut self, error: &WindowError) -> PayloadError {
        self.payload_failure = Some(error.to_string());
        windows::payload_error(error)
    }

    pub(super) fn store_error(&mut self, error: &StoreError) -> PayloadError {
        self.payload_failure = Some(error.to_string());
        match error {
            StoreError::Full { .. } => PayloadError::StoreFull,
            _ => PayloadError::Io,
        }
    }
}

pub(crate) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut payloads = linker.instance(interface!("payloads"))?;
    payloads.resource(
        "payload",
        ResourceType::host::<PayloadHandle>(),
        drop_payload,
    )?;
    payloads.func_wrap(
        "[method]payload.size",
        |store, (handle,): (Resource<PayloadHandle>,)| {
            let store: Store<'_> = store;
            Ok((store.data().table.get(&handle)?.location.len(),))
        },
    )?;
    payloads.func_wrap(
        "[method]payload.media-type",
        |store, (handle,): (Resource<PayloadHandle>,)| {
            let store: Store<'_> = store;
            Ok((store.data().table.get(&handle)?.media_type.to_string(),))
        },
    )?;
    payloads.func_wrap("[method]payload.read", read)?;
    payloads.func_wrap("[method]payload.read-into", read_into)?;
    payloads.func_wrap("[method]payload.attach", attach)?;
    payloads.func_wrap("[method]payload.detach", detach)?;
    payloads.func_wrap("reserve", reserve)?;
    super::outputs::add(&mut payloads)
}
