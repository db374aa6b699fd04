//! The imports that write to guest memory, declared by hand, and windows.
//!
//! The canonical ABI passes a `list<u8>` as an address and a length. Bindings would take it as
//! `&[u8]`, which promises that nobody writes there; for these imports the host does. So they are
//! declared here with `*mut u8`, and nothing else in the SDK calls them.
//!
//! ```text
//! region of 64 KiB pages, ours alone (allocated with alignment 65536, in whole pages)
//! ├──────────────┬───────────────────────────────┬──────────────┤
//! │ host may     │ payload: mapped copy-on-write │ rest of the  │
//! │ align here   │ or, for an output, shared     │ last page    │
//! ├──────────────┴───────────────────────────────┴──────────────┤
//! 0              offset (told by the host)       offset + size
//! ```

#![expect(
    unsafe_code,
    reason = "imports that write to guest memory, and the windows they fill"
)]

use std::alloc::Layout;
use std::cell::RefCell;
use std::rc::Rc;

use super::bindings::taps::core::payloads as wit;
use crate::PayloadError;

/// Page of a linear memory.
const PAGE: usize = 65_536;
/// Room for the host to align a payload to huge pages.
const SLACK: usize = 4 << 20;

#[link(wasm_import_module = "taps:core/payloads@0.1.0")]
unsafe extern "C" {
    #[link_name = "[method]payload.read-into"]
    fn payload_read_into(
        payload: u32,
        offset: u64,
        buffer: *mut u8,
        length: usize,
        result: *mut u8,
    );
    #[link_name = "[method]payload.attach"]
    fn payload_attach(payload: u32, window: *mut u8, length: usize, result: *mut u8);
    #[link_name = "[static]output-buffer.create"]
    fn output_buffer_create(window: *mut u8, length: usize, size: u64, result: *mut u8);
}

/// Where the canonical ABI puts a `result<…, payload-error>` of up to 24 bytes.
#[repr(C, align(8))]
struct ResultArea([u8; 24]);

impl ResultArea {
    const fn new() -> Self {
        Self([0; 24])
    }

    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }

    /// The error at `offset`, if the discriminant says so.
    fn check(&self, offset: usize) -> Result<(), PayloadError> {
        match self.0[0] {
            0 => Ok(()),
            _ => Err(error_from_code(self.0[offset])),
        }
    }

    fn u32_at(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.0[offset..offset + 4].try_into().unwrap_or_default())
    }

    fn u64_at(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.0[offset..offset + 8].try_into().unwrap_or_default())
    }
}

/// The cases of the WIT enum, in its order.
fn error_from_code(code: u8) -> PayloadError {
    match code {
        0 => PayloadError::OutOfRange,
        1 => PayloadError::MisalignedWindow,
        2 => PayloadError::WindowTooSmall,
        3 => PayloadError::WindowInUse,
        4 => PayloadError::WindowLimit,
        5 => PayloadError::WrongState,
        6 => PayloadError::StoreFull,
        7 => PayloadError::NotGranted,
        9 => PayloadError::Cancelled,
        _ => PayloadError::Io,
    }
}

/// Fills `buffer` from `offset`.
pub(super) fn read_into(
    payload: &wit::Payload,
    offset: u64,
    buffer: &mut [u8],
) -> Result<usize, PayloadError> {
    let mut area = ResultArea::new();
    // SAFETY: the buffer is borrowed mutably for the call, so the host may write all of it; the
    // result area is 8-aligned and as large as the result. The host checks the bounds again.
    unsafe {
        payload_read_into(
            payload.handle(),
            offset,
            buffer.as_mut_ptr(),
            buffer.len(),
            area.as_mut_ptr(),
        );
    }
    area.check(8)?;
    Ok(usize::try_from(area.u64_at(8)).map_or(buffer.len(), |count| count.min(buffer.len())))
}

/// Regions kept for later windows.
const KEPT_REGIONS: usize = 8;

thread_local! {
    /// Regions without a mapping, to be used again: a task that goes through a list of large
    /// payloads needs one region, and announces its growth once.
    static FREE: RefCell<Vec<Region>> = const { RefCell::new(Vec::new()) };
    /// Regions of outputs that were handed over; the host unmaps them when the call has returned.
    static HANDED_OVER: RefCell<Vec<Region>> = const { RefCell::new(Vec::new()) };
}

/// Whole pages that belong to nothing else.
struct Region {
    start: *mut u8,
    layout: Layout,
}

impl Region {
    /// Pages for `size` bytes and the room to align them: one that was used before, or new ones.
    fn reserve(size: usize) -> Result<Self, PayloadError> {
        let pages = size
            .checked_add(SLACK)
            .and_then(|size| size.checked_next_multiple_of(PAGE))
            .ok_or(PayloadError::WindowTooSmall)?;
        let used = FREE.with_borrow_mut(|free| {
            let fits = |region: &Region| (pages..=2 * pages).contains(&region.layout.size());
            free.iter()
                .position(fits)
                .map(|place| free.swap_remove(place))
        });
        match used {
            Some(region) => Ok(region),
            None => Self::allocate(pages),
        }
    }

    /// Fresh pages.
    fn allocate(pages: usize) -> Result<Self, PayloadError> {
        let layout =
            Layout::from_size_align(pages, PAGE).map_err(|_| PayloadError::WindowTooSmall)?;
        // The allocator may grow the memory by a page more on either side.
        wit::reserve((pages + 2 * PAGE) as u64).map_err(|error| error_from_code(error as u8))?;
        // SAFETY: the layout is not empty. The memory is used only through the window: neither
        // the allocator's own words nor another allocation lie in it, because it starts at a page
        // and has whole pages.
        let start = unsafe { std::alloc::alloc(layout) };
        if start.is_null() {
            return Err(PayloadError::WindowLimit);
        }
        Ok(Self { start, layout })
    }

    /// Keeps the pages for the next window, or gives them back if enough are kept.
    fn release(self) {
        FREE.with_borrow_mut(|free| {
            if free.len() < KEPT_REGIONS {
                free.push(self);
            }
        });
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `reserve`; whoever drops it has taken the mapping
        // away before, so that the allocator finds ordinary memory.
        unsafe { std::alloc::dealloc(self.start, self.layout) }
    }
}

/// A payload mapped over a region. Dropping it unmaps it.
pub(super) struct Attachment {
    payload: Rc<super::imports::HostPayload>,
    region: Option<Region>,
    offset: usize,
    size: usize,
}

impl Attachment {
    /// Maps the payload.
    pub(super) fn new(
        payload: &Rc<super::imports::HostPayload>,
        size: usize,
    ) -> Result<Self, PayloadError> {
        let region = Region::reserve(size)?;
        let mut area = ResultArea::new();
        // SAFETY: the region is ours and no reference into it exists, so the host may replace
        // what lies there; the result area is 8-aligned and as large as the result.
        unsafe {
            payload_attach(
                payload.wit.handle(),
                region.start,
                region.layout.size(),
                area.as_mut_ptr(),
            );
        }
        area.check(8)?;
        let offset = usize::try_from(area.u64_at(8)).unwrap_or(usize::MAX);
        let end = offset
            .checked_add(size)
            .ok_or(PayloadError::WindowTooSmall)?;
        assert!(
            end <= region.layout.size(),
            "the host maps within the window"
        );
        Ok(Self {
            payload: Rc::clone(payload),
            region: Some(region),
            offset,
            size,
        })
    }
}

impl AsRef<[u8]> for Attachment {
    fn as_ref(&self) -> &[u8] {
        self.region.as_ref().map_or(&[], |region| {
            // SAFETY: `new` checked the range; the mapping stays until `drop`, and nobody writes
            // to it: the SDK gives out shared references only, and the payload is immutable.
            unsafe { std::slice::from_raw_parts(region.start.add(self.offset), self.size) }
        })
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if let Some(region) = self.region.take() {
            if self.payload.wit.detach().is_ok() {
                region.release();
            } else {
                // The mapping may still be there: these pages must never be used again.
                std::mem::forget(region);
            }
        }
    }
}

/// An output under construction in a window. Dropping it gives it up.
pub struct OutputWindow {
    /// Declared, and so dropped, first: that unmaps the window.
    buffer: wit::OutputBuffer,
    region: Region,
    offset: usize,
    size: usize,
}

/// Gives the regions of earlier calls' outputs back to the allocator; called when a call begins.
pub(crate) fn free_handed_over() {
    let regions = HANDED_OVER.take();
    regions.into_iter().for_each(Region::release);
}

impl OutputWindow {
    /// A zero-filled output of `size` bytes.
    pub(super) fn create(size: usize) -> Result<Self, PayloadError> {
        let region = Region::reserve(size)?;
        let mut area = ResultArea::new();
        // SAFETY: as for `Attachment::new`.
        unsafe {
            output_buffer_create(
                region.start,
                region.layout.size(),
                size as u64,
                area.as_mut_ptr(),
            );
        }
        area.check(8)?;
        // SAFETY: the host just made this handle for us, and it is taken once.
        let buffer = unsafe { wit::OutputBuffer::from_handle(area.u32_at(8)) };
        let offset = usize::try_from(area.u64_at(16)).unwrap_or(usize::MAX);
        let end = offset
            .checked_add(size)
            .ok_or(PayloadError::WindowTooSmall)?;
        assert!(
            end <= region.layout.size(),
            "the host maps within the window"
        );
        Ok(Self {
            buffer,
            region,
            offset,
            size,
        })
    }

    /// The handle, to be returned from the task.
    pub(crate) fn hand_over(self) -> wit::OutputBuffer {
        HANDED_OVER.with_borrow_mut(|regions| regions.push(self.region));
        self.buffer
    }
}

impl AsRef<[u8]> for OutputWindow {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `create` checked the range; the host maps it until the handle is dropped or
        // returned, and the borrow of `self` rules out writers.
        unsafe { std::slice::from_raw_parts(self.region.start.add(self.offset), self.size) }
    }
}

impl AsMut<[u8]> for OutputWindow {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; `self` is borrowed mutably, so this is the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.region.start.add(self.offset), self.size) }
    }
}
