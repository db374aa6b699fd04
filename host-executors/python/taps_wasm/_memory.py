"""Memory that a shim and its child share, so that large payloads cross as descriptors.

What a task reads is lent to the child for one ``run``; what it gives stays in the child's memory until nothing here
looks at it any more. Travels with the worker's shim: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import collections
import fcntl
import mmap
import os
import socket

if "_frames" not in globals():  # Placed there when this text comes with a submission.
    from taps_wasm import _frames

CAN_LEND = hasattr(os, "memfd_create") and hasattr(socket, "SCM_RIGHTS")
"""Whether this host has what it takes."""
LEND_BYTES = 128 << 10
"""From this size on what a task reads is lent, and not sent."""
RECENT = 2
"""Outputs that a child is asked to keep in case that the next task reads them: few, for it uses their memory again."""
_RECENT_BYTES = 32 << 20
_KEPT_BYTES = 64 << 20
"""Memory that is kept between two ``run``."""
_MAX_LENT = 32
"""Descriptors that go with one frame."""
_ADD_SEALS, _SEAL_SHRINK, _SEAL_GROW = 1033, 2, 4
"""Of ``fcntl``, where Python has no names for them."""


class Given(mmap.mmap):
    """An output in the child's memory. The child is told when nothing here looks at it any more."""

    freed = None
    segment = 0

    def __del__(self):
        # Wherever the last view is dropped: no lock may be taken here.
        if self.freed is not None:
            self.freed.append(self.segment)


class Lent:
    """Memory that a child may read during one ``run``, used again for the next."""

    def __init__(self):
        self.file = -1
        self.capacity = 0

    def fill(self, data):
        """Puts ``data`` at its beginning, and zeros up to the end of the page."""
        padded = (data.nbytes + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE
        if padded > self.capacity:
            self.close()  # Its size is sealed.
            self.file = os.memfd_create("taps-wasm-lent", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(self.file, padded)
            fcntl.fcntl(self.file, _ADD_SEALS, _SEAL_SHRINK | _SEAL_GROW)
            self.capacity = padded
        at = 0
        while at < data.nbytes:
            at += os.pwrite(self.file, data[at:], at)
        if at < padded:
            os.pwrite(self.file, bytes(padded - at), at)

    def close(self):
        """Gives the memory back, once no child reads it any more."""
        if self.file >= 0:
            os.close(self.file)
        self.file, self.capacity = -1, 0


class Shared:
    """What one child and this process have in common."""

    def __init__(self):
        self.lends = False
        self.lent = []
        self._name = os.urandom(8).hex()
        self._recent = collections.OrderedDict()  # Its last outputs, by segment: the next task may read them.
        self._freed = collections.deque()  # Names of outputs that nothing here looks at any more.

    def place(self, buffers):
        """How ``(buffer, origin)`` go to the child: fields of the ``run``, what is sent, and descriptors."""
        header, lent, files, held, sent = {}, [], [], [], []
        if self._freed:
            header["free"] = [self._freed.popleft() for _ in range(len(self._freed))]
        for at, (buffer, origin) in enumerate(buffers):
            if origin and origin[0] == self._name and origin[1] in self._recent:
                held.append({"reference": at, "segment": origin[1]})
                sent.append(b"")
                continue
            data = _frames.view(buffer)
            memory = self._lend(data, len(lent))
            if memory is not None:
                lent.append({"reference": at, "len": data.nbytes, "capacity": memory.capacity})
                files.append(memory.file)
            sent.append(data if memory is None else b"")
        if lent:
            header["lent"] = lent
        if held:
            header["held"] = held
        return header, sent, files

    def _lend(self, data, number):
        """The memory of that number with ``data`` in it; ``None`` where it goes through the socket."""
        if not self.lends or data.nbytes < LEND_BYTES or number >= _MAX_LENT:
            return None
        if number == len(self.lent):
            self.lent.append(Lent())
        try:
            self.lent[number].fill(data)
        except OSError:  # No room for another file or for its memory.
            self.lent[number].close()
            return None
        return self.lent[number]

    def after(self, answer, buffers, files):
        """After a ``run``: puts outputs that came as ``files`` in the place of their buffers; gives their origins.

        Raises ``ValueError`` where the answer does not fit the descriptors.
        """
        self._take_back(answer.get("holds"))
        given = answer.get("given", ())
        if len(files) != len(given):
            for file in files:
                os.close(file)
            raise ValueError("gave %d outputs and %d descriptors" % (len(given), len(files)))
        for file, what in zip(files, given):
            data = buffers[what["buffer"]] = self._map(file, what)
            if isinstance(data, memoryview):
                self._remember(what["segment"], data)
        return {what["buffer"]: (self._name, what["segment"]) for what in given}

    def _take_back(self, holds):
        """What was lent is kept for the next ``run``, if it is not much and the child is done with it."""
        kept = 0
        for memory in self.lent:
            kept += memory.capacity
            if holds or kept > _KEPT_BYTES:
                memory.close()
        self.lent = [memory for memory in self.lent if memory.file >= 0]

    def _map(self, file, given):
        """The bytes of an output that came as a descriptor, which is closed."""
        offset, length = given["offset"], given["len"]
        skipped = offset % mmap.ALLOCATIONGRANULARITY
        try:
            flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0x8000)
            mapped = Given(file, length + skipped, flags, mmap.PROT_READ, offset=offset - skipped)
        except OSError:  # No room for another mapping or descriptor: a copy, then.
            with open(file, "rb", closefd=False) as copied:
                copied.seek(offset)
                data = copied.read(length)
            self._freed.append(given["segment"])
            return data
        finally:
            os.close(file)
        mapped.segment, mapped.freed = given["segment"], self._freed
        return memoryview(mapped)[skipped:]

    def _remember(self, segment, data):
        self._recent[segment] = data
        while len(self._recent) > RECENT or sum(kept.nbytes for kept in self._recent.values()) > _RECENT_BYTES:
            self._recent.popitem(last=False)

    def close(self):
        """Gives lent memory back."""
        self._recent.clear()
        for memory in self.lent:
            memory.close()
        self.lent = []
