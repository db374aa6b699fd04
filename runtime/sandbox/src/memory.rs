//! Guest memory in place: what a list argument points to, for reading and writing without copies.
//!
//! The canonical ABI has checked the bounds of every list before a host function sees it, and a
//! linear memory never moves or shrinks while its store lives (pooling and on-demand memories are
//! reserved at 4 GiB). Functions here lend that memory to a closure that also gets the store's data
//! but not the store, so nothing else can reach guest memory meanwhile.

use crate::State;
use wasmtime::{StoreContextMut, component::WasmList};

/// Where a list lies in the host's address space. A number, not a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) address: usize,
    pub(crate) len: usize,
}

impl Range {
    pub(crate) fn of(list: &WasmList<u8>, store: &StoreContextMut<'_, State>) -> Self {
        let bytes = list.as_le_slice(store);
        Self {
            address: bytes.as_ptr().expose_provenance(),
            len: bytes.len(),
        }
    }

    fn overlaps(self, other: Self) -> bool {
        self.len > 0
            && other.len > 0
            && self.address < other.address + other.len
            && other.address < self.address + self.len
    }
}

/// Lends one list for writing.
pub(crate) fn lend_mut<R>(
    store: &mut StoreContextMut<'_, State>,
    list: &WasmList<u8>,
    use_it: impl FnOnce(&mut State, &mut [u8]) -> R,
) -> R {
    let range = Range::of(list, store);
    // SAFETY: the range lies in a live linear memory (see the module), is readable and writable
    // (payload windows are mapped private read-write, never read-only: attack test
    // `realloc_into_window`), and for the time of the closure nothing else refers to it: the closure has
    // the store's data, which holds no guest memory, but not the store.
    let bytes = unsafe {
        std::slice::from_raw_parts_mut(
            std::ptr::with_exposed_provenance_mut::<u8>(range.address),
            range.len,
        )
    };
    use_it(store.data_mut(), bytes)
}

/// Lends a range for reading, which came from a list that the guest of this store passed earlier.
pub(crate) fn lend_range<R>(
    state: &mut State,
    range: Range,
    use_it: impl FnOnce(&mut State, &[u8]) -> R,
) -> R {
    // SAFETY: the canonical ABI checked the range against a linear memory of this store, which is
    // alive as long as the store's data, and neither moves nor shrinks (see the module). No guest
    // code runs while the host has the data, and the data holds no reference to guest memory.
    // Guarded by `an_output_that_memory_has_no_room_for_goes_to_the_disk`.
    let bytes = unsafe {
        std::slice::from_raw_parts(
            std::ptr::with_exposed_provenance::<u8>(range.address),
            range.len,
        )
    };
    use_it(state, bytes)
}

/// A number type of the kernels.
pub(crate) trait Number: Copy {
    /// Name in messages.
    const NAME: &'static str;
}

impl Number for f32 {
    const NAME: &'static str = "f32";
}

impl Number for f64 {
    const NAME: &'static str = "f64";
}

/// Lends lists as numbers: `inputs` for reading, `output` for reading and writing. Fails when one is
/// not aligned or when the output overlaps an input.
pub(crate) fn lend_numbers<T: Number, const N: usize, R>(
    store: &mut StoreContextMut<'_, State>,
    inputs: [&WasmList<u8>; N],
    output: &WasmList<u8>,
    use_them: impl FnOnce(&mut State, [&[T]; N], &mut [T]) -> R,
) -> wasmtime::Result<R> {
    let out = Range::of(output, store);
    let ranges = inputs.map(|list| Range::of(list, store));
    for range in ranges.iter().chain([&out]) {
        if range.address % align_of::<T>() != 0 || range.len % size_of::<T>() != 0 {
            wasmtime::bail!(
                "a buffer is not a whole number of aligned {} values",
                T::NAME
            );
        }
    }
    if ranges.iter().any(|range| range.overlaps(out)) {
        wasmtime::bail!("the output buffer overlaps an input buffer");
    }
    // SAFETY: as in `lend_mut`; alignment and length were checked just now, any bits are a valid
    // number, and the written range overlaps none of those read (test `kernels_refuse_bad_buffers`).
    let (slices, written) = unsafe {
        (
            ranges.map(|range| {
                std::slice::from_raw_parts(
                    std::ptr::with_exposed_provenance::<T>(range.address),
                    range.len / size_of::<T>(),
                )
            }),
            std::slice::from_raw_parts_mut(
                std::ptr::with_exposed_provenance_mut::<T>(out.address),
                out.len / size_of::<T>(),
            ),
        )
    };
    Ok(use_them(store.data_mut(), slices, written))
}
