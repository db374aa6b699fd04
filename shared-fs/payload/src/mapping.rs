//! The system calls that map memory, each wrapped with the checks that it always needs.
//!
//! Nothing here knows of segments or guests.

mod words;

pub use words::SharedWords;

use rustix::{
    fs::{FallocateFlags, MemfdFlags, Mode, SealFlags},
    io::Errno,
    mm::{Advice, MapFlags, ProtFlags},
};
use std::{
    ffi::c_void,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::FileExt as _,
    },
    time::Duration,
};

/// A fresh memfd that nobody else can open, of size 0.
pub(crate) fn memfd(name: &str) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Linux before 6.3 does not know the flag.
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
        other => other?,
    };
    rustix::fs::fchmod(&file, Mode::RUSR)?;
    Ok(File::from(file))
}

/// A memfd of `bytes` zeros, its size sealed.
pub(crate) fn sealed_memfd(name: &str, bytes: u64) -> io::Result<SizedFile> {
    let file = memfd(name)?;
    file.set_len(bytes)?;
    SizedFile::new(file, bytes, Sealing::Size)
}

fn refused(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// What is sealed of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sealing {
    /// The size, for ever; writing stays allowed, because the memory is recycled, and no holder
    /// of a descriptor can forbid it later.
    Size,
    /// The size; the content follows when it is complete, see [`SizedFile::seal_content`].
    ThenContent,
    /// Nothing, where the file system has no seals: whoever can write to the file is trusted not
    /// to make it shorter.
    Nothing,
}

/// A file whose pages are all allocated and whose size stays, so that no access to a mapping of
/// it can end in a SIGBUS: not for want of memory, and not because a holder of a descriptor made
/// it shorter.
///
/// A file on a disk is allocated as well, but a disk can fail: it is read and written through its
/// descriptor, and must not be mapped (`Memory::is_mappable`).
#[derive(Debug)]
pub(crate) struct SizedFile {
    file: File,
    len: u64,
}

impl SizedFile {
    /// Allocates the file to the last of `len` bytes, and seals it.
    pub(crate) fn new(file: File, len: u64, sealing: Sealing) -> io::Result<Self> {
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len)?;
        let size = SealFlags::SHRINK | SealFlags::GROW;
        match sealing {
            Sealing::Size => rustix::fs::fcntl_add_seals(&file, size | SealFlags::SEAL)?,
            Sealing::ThenContent => rustix::fs::fcntl_add_seals(&file, size)?,
            Sealing::Nothing => {}
        }
        Ok(Self { file, len })
    }

    /// A file that somebody else made: at least `len` bytes, with at least these seals.
    pub(crate) fn open(file: File, len: u64, seals: SealFlags) -> io::Result<Self> {
        let has = rustix::fs::fstat(&file)?.st_size.cast_unsigned();
        if has < len {
            return Err(refused(format!(
                "the file has {has} bytes instead of {len}"
            )));
        }
        if !seals.is_empty() && !rustix::fs::fcntl_get_seals(&file)?.contains(seals) {
            return Err(refused("the file is not sealed".to_owned()));
        }
        Ok(Self { file, len })
    }

    /// Forbids all writing for ever. Fails while a mapping could still write.
    ///
    /// A process that this one forks has copies of its mappings until it executes a program, and
    /// for that long the kernel refuses: this waits for a moment, longer each time.
    pub(crate) fn seal_content(&self) -> io::Result<()> {
        const LONGEST: Duration = Duration::from_millis(128);
        let mut pause = Duration::from_millis(1);
        loop {
            match rustix::fs::fcntl_add_seals(&self.file, SealFlags::WRITE | SealFlags::SEAL) {
                Err(Errno::BUSY) if pause <= LONGEST => {
                    std::thread::sleep(pause);
                    pause *= 2;
                }
                other => return Ok(other?),
            }
        }
    }

    /// Size in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buffer` from `offset`.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// Writes all of `bytes` at `offset`. The caller owns that range of the file alone.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Overwrites `[from, to)` with zeros, through the descriptor. The caller owns that range of
    /// the file alone.
    pub(crate) fn clear(&self, from: u64, to: u64) -> io::Result<()> {
        static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
        let mut at = from;
        while at < to {
            let count = (to - at).min(ZEROS.len() as u64) as usize;
            self.file.write_all_at(&ZEROS[..count], at)?;
            at += count as u64;
        }
        Ok(())
    }

    /// Overwrites `[from, to)` with zeros through a mapping: up to four times as fast as `clear`
    /// on huge pages, and slower on small ones.
    pub(crate) fn clear_mapped(&mut self, from: u64, to: u64, alignment: usize) -> io::Result<()> {
        assert!(to <= self.len, "{to} lies beyond {}", self.len);
        if from >= to {
            return Ok(());
        }
        let map = HostMap::new(&self.file, 0, self.len as usize, alignment, Access::Write)?;
        let start = pointer(map.addr + from as usize).cast::<u8>();
        // SAFETY: the range lies in the mapping, all pages of which are allocated; `&mut self`
        // says that no `SegmentMap` and no window shows the file. Guarded by
        // `the_next_owner_of_a_segment_sees_zeros`.
        unsafe { start.write_bytes(0, (to - from) as usize) };
        Ok(())
    }
}

impl AsFd for SizedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Whether guests share what they write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Writes go to pages of the mapping's own: the file cannot change.
    Private,
    /// Writes go to the file.
    Shared,
}

/// Maps the file from its start over `[addr, addr + len)`, readable and writable.
///
/// Never read-only: the canonical ABI lets a guest choose where the host writes, and a host that
/// writes to a read-only page dies (`realloc_into_an_input_window_leaves_the_payload_alone`).
///
/// On an error the range is memory again, zero or as it was.
///
/// # Safety
///
/// The range is private anonymous memory, page-aligned, that nothing on the host refers to.
pub(crate) unsafe fn map_over(
    addr: usize,
    len: usize,
    file: &SizedFile,
    sharing: Sharing,
) -> io::Result<()> {
    assert!(len as u64 <= file.len, "{len} lies beyond {}", file.len);
    let flags = match sharing {
        Sharing::Private => MapFlags::PRIVATE,
        Sharing::Shared => MapFlags::SHARED,
    };
    // SAFETY: the caller vouches that the range is memory that may be replaced; every access to
    // the new mapping finds a page, because the file has them all. Guarded by
    // `an_output_window_can_be_filled_to_the_last_byte` and `nobody_can_shrink_a_segment`.
    let mapped = unsafe {
        rustix::mm::mmap(
            pointer(addr),
            len,
            ProtFlags::READ | ProtFlags::WRITE,
            flags | MapFlags::FIXED | MapFlags::NORESERVE,
            file,
            0,
        )
    };
    match mapped {
        Ok(at) => {
            debug_assert_eq!(at.expose_provenance(), addr, "a fixed mapping moved");
            Ok(())
        }
        Err(error) => {
            // Linux may have taken the old pages away before it failed. A hole in a guest's
            // memory would be filled by the next mapping of anybody, so it must not stay.
            // SAFETY: as above; the range is the caller's to replace.
            if !unsafe { try_restore(addr, len, MapFlags::FIXED) } {
                // Refused, most likely for want of mappings. Then nothing was taken away, which
                // this call tells: it fails if a page of the range is not mapped.
                // SAFETY: as above; the content of the range is the caller's to discard.
                unsafe { discard(addr, len) };
            }
            Err(error.into())
        }
    }
}

/// Puts anonymous private zero memory over `[addr, addr + len)`, with the flags with which
/// wasmtime's pool made it, so that the kernel merges it with its surroundings again.
///
/// Failing would leave a payload in memory that the next guest gets, so the process ends.
///
/// # Safety
///
/// The range is exactly a mapping made by `map_over`, and nothing on the host refers into it.
pub(crate) unsafe fn restore(addr: usize, len: usize) {
    // SAFETY: the caller's promise. Guarded by `detaching_leaves_zeros_in_the_whole_window` and
    // `a_trap_with_windows_attached_leaves_nothing_behind`.
    if unsafe { try_restore(addr, len, MapFlags::FIXED) } {
        return;
    }
    // A process that has more mappings than `vm.max_map_count` may not even replace one. It may
    // take one away, which makes room; for the moment in between, another thread's mapping could
    // be put there, which the second flag finds out.
    // SAFETY: as above. Guarded by `windows_survive_a_process_without_mappings`.
    let restored = unsafe {
        rustix::mm::munmap(pointer(addr), len).is_ok()
            && try_restore(addr, len, MapFlags::FIXED_NOREPLACE)
    };
    if !restored {
        abort("a window could not be taken away from guest memory");
    }
}

/// Makes `[addr, addr + len)`, which is private anonymous memory, read as zero.
///
/// # Safety
///
/// The range is private anonymous memory, page-aligned, and nothing on the host refers into it.
pub(crate) unsafe fn discard(addr: usize, len: usize) {
    if len == 0 {
        return;
    }
    // SAFETY: the caller's promise: the content may go. Guarded by
    // `detaching_leaves_zeros_in_the_whole_window`.
    let discarded = unsafe { rustix::mm::madvise(pointer(addr), len, Advice::LinuxDontNeed) };
    if discarded.is_err() {
        abort("guest memory has a hole");
    }
}

/// # Safety
///
/// As for `restore`.
unsafe fn try_restore(addr: usize, len: usize, place: MapFlags) -> bool {
    // SAFETY: the caller's promise: the range is memory that may be replaced.
    let restored = unsafe {
        rustix::mm::mmap_anonymous(
            pointer(addr),
            len,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::NORESERVE | place,
        )
    };
    restored.is_ok_and(|at| at.expose_provenance() == addr)
}

/// Most mappings that this process may have (`vm.max_map_count`).
pub(crate) fn most_mappings() -> usize {
    /// What Linux has unless told otherwise.
    const USUAL: usize = 65_530;
    std::fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(USUAL)
}

/// Ends the process: the memory of a guest is in a state in which no guest may run.
fn abort(reason: &str) -> ! {
    // Not a panic: unwinding would give the memory back to the pool.
    eprintln!("taps-wasm: {reason}; the process ends, because no guest may run in such memory");
    std::process::abort()
}

fn pointer(addr: usize) -> *mut c_void {
    std::ptr::with_exposed_provenance_mut(addr)
}

/// What a mapping into the host allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
    /// Reading and writing, and nobody else has it.
    Own,
}

/// A mapping at an address that the kernel chose, shared unless it is anonymous.
#[derive(Debug)]
pub(crate) struct HostMap {
    addr: usize,
    len: usize,
    access: Access,
}

impl HostMap {
    /// Maps `len` bytes of the file from `offset` on at a multiple of `alignment`, a power of two
    /// and a multiple of the page size. `offset` and `len` are multiples of the page size, and
    /// `len` is not 0.
    pub(crate) fn new(
        file: impl AsFd,
        offset: u64,
        len: usize,
        alignment: usize,
        access: Access,
    ) -> io::Result<Self> {
        debug_assert!(alignment.is_power_of_two() && len != 0);
        let slack = alignment - rustix::param::page_size().min(alignment);
        let reserved = len.checked_add(slack).ok_or(Errno::NOMEM)?;
        // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                reserved,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }?
        .expose_provenance();
        // From here on the reservation is unmapped as a whole on any error.
        let whole = Self {
            addr: start,
            len: reserved,
            access,
        };
        let addr = start.next_multiple_of(alignment);
        let protection = match access {
            Access::Read => ProtFlags::READ,
            Access::Write | Access::Own => ProtFlags::READ | ProtFlags::WRITE,
        };
        // SAFETY: the range lies in the reservation made above, which nothing refers to.
        unsafe {
            rustix::mm::mmap(
                pointer(addr),
                len,
                protection,
                MapFlags::SHARED | MapFlags::FIXED | MapFlags::NORESERVE,
                file,
                offset,
            )
        }?;
        std::mem::forget(whole);
        drop(Self {
            addr: start,
            len: addr - start,
            access,
        });
        drop(Self {
            addr: addr + len,
            len: start + reserved - (addr + len),
            access,
        });
        Ok(Self { addr, len, access })
    }

    /// Zero memory of this process alone.
    pub(crate) fn anonymous(len: usize) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        Ok(Self {
            addr: start.expose_provenance(),
            len,
            access: Access::Own,
        })
    }

    /// The bytes of a mapping made by `anonymous`.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        assert_eq!(self.access, Access::Own, "others see this memory");
        // SAFETY: all of it is writable memory of this value alone, borrowed for as long. Guarded
        // by `a_segment_on_a_disk_is_read_into_memory`.
        unsafe { std::slice::from_raw_parts_mut(pointer(self.addr).cast(), self.len) }
    }

    /// Start of the mapping.
    pub(crate) fn addr(&self) -> usize {
        self.addr
    }

    /// Asks the kernel for huge pages, now. Fails if one of them could not be made.
    pub(crate) fn collapse(&self) -> io::Result<()> {
        /// Linux 6.1; `libc` names it for glibc only.
        const MADV_COLLAPSE: libc::c_int = 25;
        // SAFETY: changes what pages the mapping is made of, not what they contain.
        let result = unsafe { libc::madvise(pointer(self.addr), self.len, MADV_COLLAPSE) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl Drop for HostMap {
    fn drop(&mut self) {
        if self.len == 0 {
            return;
        }
        // SAFETY: the range is this value's own; whoever made references into it borrowed this
        // value. Guarded by `host_maps_leave_no_mapping_behind`.
        let unmapped = unsafe { rustix::mm::munmap(pointer(self.addr), self.len) };
        debug_assert!(unmapped.is_ok(), "unmapping failed: {unmapped:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u64 = 4 << 20;

    fn file(name: &str) -> File {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(rustix::fs::memfd_create(name, flags).expect("memfds work"));
        file.set_len(LEN).expect("ours");
        file
    }

    fn mappings(name: &str) -> usize {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs is mounted");
        maps.lines().filter(|line| line.contains(name)).count()
    }

    #[test]
    fn host_maps_leave_no_mapping_behind() {
        let file = file("taps-host-map");
        let page = rustix::param::page_size();
        for alignment in [page, 2 << 20, 8 << 20] {
            for access in [Access::Read, Access::Write] {
                let map = HostMap::new(&file, 0, LEN as usize, alignment, access).expect("room");
                assert!(map.addr().is_multiple_of(alignment));
                assert_eq!(mappings("taps-host-map"), 1);
                drop(map);
                assert_eq!(mappings("taps-host-map"), 0);
            }
        }
    }

    /// Processes are started while payloads are published.
    #[test]
    fn sealing_waits_for_a_mapping_that_goes_away() {
        let file = SizedFile::new(file("taps-sealing"), LEN, Sealing::ThenContent);
        let file = file.expect("memory is left");
        let page = rustix::param::page_size();
        let map = HostMap::new(&file, 0, LEN as usize, page, Access::Write).expect("room");
        let refused = rustix::fs::fcntl_add_seals(&file, SealFlags::WRITE);
        assert_eq!(refused, Err(Errno::BUSY), "it could be written");
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                receiver.recv().expect("it is sent");
                drop(map);
            });
            scope.spawn(|| {
                sender.send(()).expect("it is received");
                file.seal_content().expect("the mapping goes away");
            });
        });
        file.write_at(0, &[1]).expect_err("sealed");
    }

    #[test]
    fn a_sized_file_has_every_page_and_its_size_for_ever() {
        let mut file =
            SizedFile::new(file("taps-sized"), LEN, Sealing::Size).expect("memory is left");
        let stat = rustix::fs::fstat(&file).expect("ours");
        assert_eq!(stat.st_blocks.cast_unsigned() * 512, LEN);
        for len in [0, LEN - 1, LEN + 1] {
            file.file.set_len(len).expect_err("the size is sealed");
        }
        file.write_at(LEN, &[1]).expect_err("it does not grow");
        // Both ways of clearing clear exactly what they are told to.
        for mapped in [false, true] {
            let len = LEN as usize;
            file.write_at(0, &vec![7; len]).expect("it fits");
            if mapped {
                file.clear_mapped(5, LEN - 5, 2 << 20).expect("room");
            } else {
                file.clear(5, LEN - 5).expect("it fits");
            }
            let mut content = vec![1; len];
            file.read_at(0, &mut content).expect("in range");
            let mut expected = vec![0; len];
            expected[..5].fill(7);
            expected[len - 5..].fill(7);
            assert!(content == expected, "mapped: {mapped}");
        }
    }
}
