//! Archives read in place.

#![expect(
    unsafe_code,
    reason = "an archive is checked once, then read without checks"
)]

use std::marker::PhantomData;

use crate::value::{Archivable, Archived, access};
use crate::{Bytes, Result};

/// An archive read in place, checked once: dereferences to `Archived<T>`. Dropping it releases
/// the bytes.
pub struct View<T: Archivable> {
    bytes: Bytes,
    _type: PhantomData<fn() -> T>,
}

impl<T: Archivable> View<T> {
    /// Checks that `bytes` hold an archive of `T`, and keeps them.
    pub fn new(bytes: Bytes) -> Result<Self> {
        let bytes = bytes.aligned();
        access::<T>(&bytes)?;
        Ok(Self {
            bytes,
            _type: PhantomData,
        })
    }

    /// Length of the archive in bytes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
}

impl<T: Archivable> std::ops::Deref for View<T> {
    type Target = Archived<T>;

    fn deref(&self) -> &Archived<T> {
        // SAFETY: `new` checked these very bytes, and nothing changes them: they are private to
        // this value, or a published payload, which is immutable. They do not move either: the
        // storage behind `Bytes` is on the heap or in a window. Guarded by
        // `tests/values.rs::views_check_before_they_trust`.
        unsafe { rkyv::access_unchecked::<Archived<T>>(self.bytes.as_slice()) }
    }
}
