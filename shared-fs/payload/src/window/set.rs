//! All windows of one sandbox: the checks between them, and the account of their bytes.

use super::{InputWindow, OutputWindow, Window, WindowError, WindowLimit, map_input, map_output};
use crate::{Segment, WritableSegment, page_bytes};
use std::{collections::BTreeMap, sync::Arc};

/// Limits on the windows of one sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLimits {
    /// Most windows attached at one time. Each takes up to two mappings of the process.
    pub count: usize,
    /// Most bytes of guest memory under windows at one time.
    pub bytes: u64,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self {
            count: 256,
            bytes: 4 << 30,
        }
    }
}

/// Names a window in its set. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowKey(u64);

/// The windows of one sandbox.
///
/// Belongs in the data of the store: wasmtime drops that before it gives the memory of the
/// instance back, also after a trap. Never call `Store::into_data` while windows are attached.
#[derive(Debug)]
pub struct WindowSet {
    limits: WindowLimits,
    next_key: u64,
    bytes: u64,
    peak_bytes: u64,
    attached: BTreeMap<WindowKey, Attached>,
    /// Start and end of each window that has bytes. No two overlap.
    ranges: BTreeMap<usize, usize>,
}

#[derive(Debug)]
enum Attached {
    Input(InputWindow),
    Output(OutputWindow),
    /// Nothing is mapped: the guest's own memory, kept clear of windows.
    Reserved(Window),
}

impl Attached {
    fn window(&self) -> &Window {
        match self {
            Self::Input(input) => &input.window,
            Self::Output(output) => &output.window,
            Self::Reserved(window) => window,
        }
    }
}

impl WindowSet {
    /// A set without windows.
    pub fn new(limits: WindowLimits) -> Self {
        Self {
            limits,
            next_key: 0,
            bytes: 0,
            peak_bytes: 0,
            attached: BTreeMap::new(),
            ranges: BTreeMap::new(),
        }
    }

    /// Maps a published segment over the window and says at which offset it starts.
    ///
    /// # Safety
    ///
    /// As for [`map_input`], except that the set itself checks for other windows.
    pub unsafe fn attach_input(
        &mut self,
        addr: usize,
        len: usize,
        segment: &Arc<Segment>,
    ) -> Result<(WindowKey, u64), WindowError> {
        self.check(addr, len)?;
        // SAFETY: the caller's promise, and no window of this set overlaps.
        let (window, offset) = unsafe { map_input(addr, len, segment) }?;
        Ok((self.insert(Attached::Input(window)), offset))
    }

    /// Maps a segment under construction over the window and says at which offset it starts. On
    /// an error the segment goes back to its store.
    ///
    /// # Safety
    ///
    /// As for [`map_output`], except that the set itself checks for other windows.
    pub unsafe fn attach_output(
        &mut self,
        addr: usize,
        len: usize,
        segment: WritableSegment,
    ) -> Result<(WindowKey, u64), WindowError> {
        self.check(addr, len)?;
        // SAFETY: the caller's promise, and no window of this set overlaps.
        let (window, offset) = unsafe { map_output(addr, len, segment) }?;
        Ok((self.insert(Attached::Output(window)), offset))
    }

    /// Keeps a range clear of windows until it is detached, and makes it zero now and then: the
    /// guest fills its own memory there, and the host copies it.
    ///
    /// # Safety
    ///
    /// As for [`map_output`], except that the set itself checks for other windows.
    pub unsafe fn reserve(&mut self, addr: usize, len: usize) -> Result<WindowKey, WindowError> {
        self.check(addr, len)?;
        // SAFETY: the caller's promise, and no window of this set overlaps.
        let window = unsafe { Window::without_mapping(addr, len) }?;
        Ok(self.insert(Attached::Reserved(window)))
    }

    /// Whether a window is still attached.
    pub fn contains(&self, key: WindowKey) -> bool {
        self.attached.contains_key(&key)
    }

    /// Checks a window before the cost of making its segment: alignment, overlap and limits.
    pub fn check(&self, addr: usize, len: usize) -> Result<(), WindowError> {
        if self.attached.len() >= self.limits.count {
            let limit = self.limits.count;
            return Err(WindowError::Limit(WindowLimit::Count { limit }));
        }
        if len == 0 {
            // Enough for a payload without bytes, and nothing is mapped.
            return Ok(());
        }
        let page = page_bytes() as usize;
        if !addr.is_multiple_of(page) || !len.is_multiple_of(page) {
            return Err(WindowError::Misaligned { addr, len });
        }
        let end = addr
            .checked_add(len)
            .ok_or(WindowError::Misaligned { addr, len })?;
        // Windows do not overlap, so the last that starts before the end also ends last.
        if let Some((_, &before)) = self.ranges.range(..end).next_back()
            && before > addr
        {
            return Err(WindowError::InUse);
        }
        let wanted_bytes = self.bytes + len as u64;
        if wanted_bytes > self.limits.bytes {
            return Err(WindowError::Limit(WindowLimit::Bytes {
                wanted_bytes,
                limit_bytes: self.limits.bytes,
            }));
        }
        Ok(())
    }

    /// Takes an input away, or an output with its segment, which goes back to its store.
    pub fn detach(&mut self, key: WindowKey) -> Result<(), WindowError> {
        self.remove(key).map(drop).ok_or(WindowError::WrongState)
    }

    /// Takes an output away and gives its segment, ready to publish.
    pub fn finish_output(&mut self, key: WindowKey) -> Result<WritableSegment, WindowError> {
        if !matches!(self.attached.get(&key), Some(Attached::Output(_))) {
            return Err(WindowError::WrongState);
        }
        match self.remove(key) {
            Some(Attached::Output(output)) => Ok(output.finish()),
            _ => Err(WindowError::WrongState),
        }
    }

    /// Takes all windows away.
    pub fn clear(&mut self) {
        self.ranges.clear();
        self.bytes = 0;
        self.attached.clear();
    }

    /// Number of windows attached.
    pub fn len(&self) -> usize {
        self.attached.len()
    }

    /// Whether no window is attached.
    pub fn is_empty(&self) -> bool {
        self.attached.is_empty()
    }

    /// Bytes of guest memory under windows.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Most bytes of guest memory that were under windows at one time.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    fn insert(&mut self, attached: Attached) -> WindowKey {
        let key = WindowKey(self.next_key);
        self.next_key += 1;
        let Window { addr, len, .. } = *attached.window();
        if len != 0 {
            self.ranges.insert(addr, addr + len);
        }
        self.bytes += len as u64;
        self.peak_bytes = self.peak_bytes.max(self.bytes);
        self.attached.insert(key, attached);
        key
    }

    fn remove(&mut self, key: WindowKey) -> Option<Attached> {
        let attached = self.attached.remove(&key)?;
        let Window { addr, len, .. } = *attached.window();
        if len != 0 {
            self.ranges.remove(&addr);
        }
        self.bytes -= len as u64;
        Some(attached)
    }
}
