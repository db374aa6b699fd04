"""Frames: the one format that every channel of taps-wasm's engines speaks.

A frame is a JSON header and raw buffers behind it, little endian::

    u32 header_len | u32 nbufs | u64 len[nbufs] | header | buf0 | buf1 ...

The header is a UTF-8 JSON object whose ``"t"`` says what the frame is. The
buffers are never looked into: payloads cross without being copied or encoded.

This module needs the standard library only and travels with the worker's shim
to hosts where taps-wasm is not installed. It runs on Python 3.9 and later.
"""

from __future__ import annotations

import array
import json
import socket
import struct
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

Buffer = Union[bytes, bytearray, memoryview]
Header = Dict[str, Any]
Frame = Tuple[Header, List[bytearray]]

MAX_HEADER_BYTES = 64 << 20
"""Largest header that is read or written."""
MAX_BUFFERS = 65536
"""Most buffers in one frame."""
MAX_BUFFER_BYTES = 1 << 40
"""Largest length that a buffer may declare."""

# A declared length is trusted only so far: memory for a larger buffer is taken
# as its bytes arrive, so a wrong length cannot take all memory at once.
_TRUSTED_BYTES = 64 << 20
# Buffers that one sendmsg takes (IOV_MAX is 1024 on Linux).
_SEND_PARTS = 512
# Frames of at most this many bytes are sent as one joined string: a copy of a
# small buffer costs less than a longer list of parts.
_JOIN_BYTES = 16 << 10
# What is asked of the socket at once: a small frame comes by one call.
_AHEAD_BYTES = 64 << 10
# Most descriptors that come with one frame.
_MAX_FILES = 64

_to_json = json.JSONEncoder(separators=(",", ":")).encode
_PREFIX = struct.Struct("<II")


class ProtocolError(Exception):
    """The peer sent something that is not a frame; the channel is of no more use."""


def view(buffer: Buffer) -> memoryview:
    """The bytes of any contiguous buffer as a flat view, without a copy."""
    flat = memoryview(buffer)
    return flat if flat.format == "B" and flat.ndim == 1 else flat.cast("B")


def encode(header: Header, buffers: Sequence[Buffer] = ()) -> List[Buffer]:
    """The parts of a frame, in the order in which they are written.

    Raises ``ProtocolError`` when the header or the number of buffers is over a
    limit: such a frame must be split by the caller.
    """
    text = _to_json(header).encode("utf-8")
    if len(text) > MAX_HEADER_BYTES:
        raise ProtocolError(f"a frame's header has {len(text)} bytes; at most {MAX_HEADER_BYTES} are allowed")
    if len(buffers) > MAX_BUFFERS:
        raise ProtocolError(f"a frame has {len(buffers)} buffers; at most {MAX_BUFFERS} are allowed")
    views = [view(buffer) for buffer in buffers]
    lengths = struct.pack(f"<{len(views)}Q", *[part.nbytes for part in views])
    head = b"".join((_PREFIX.pack(len(text), len(views)), lengths, text))
    parts: List[Buffer] = [head]
    parts.extend(part for part in views if part.nbytes)
    return parts


class Channel:
    """Frames over a connected stream socket.

    ``send`` and ``receive`` may be used by two threads at the same time, each
    by one: a reader that also wrote could stand still against a full socket.
    """

    def __init__(self, stream: socket.socket) -> None:
        self.socket = stream
        # Descriptors that came, for whom it may concern; None while nobody takes them.
        self.files: Optional[List[int]] = None
        # What came with the bytes that were asked for, from `_at` on.
        self._ahead = b""
        self._at = 0

    def fileno(self) -> int:
        """The socket's descriptor, for ``select`` and ``poll``; look at ``has_more`` first."""
        return self.socket.fileno()

    @property
    def has_more(self) -> bool:
        """Whether a part of the next frame was read already: the socket may not show it."""
        return self._at < len(self._ahead)

    def send(self, header: Header, buffers: Sequence[Buffer] = (), files: Sequence[int] = ()) -> None:
        """Writes one frame whole, with descriptors. Raises ``OSError`` when the peer is gone."""
        parts = encode(header, buffers)
        if files:
            self._send_parts(parts, files)
            return
        if sum(len(part) for part in parts) <= _JOIN_BYTES:
            self.socket.sendall(b"".join(parts))
            return
        for start in range(0, len(parts), _SEND_PARTS):
            self._send_parts(parts[start : start + _SEND_PARTS])

    def _send_parts(self, parts: Sequence[Buffer], files: Sequence[int] = ()) -> None:
        pending = [view(part) for part in parts]
        with_first = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
        while pending:
            sent = self.socket.sendmsg(pending[:_SEND_PARTS], with_first)
            with_first = []
            while pending and sent >= pending[0].nbytes:
                sent -= pending.pop(0).nbytes
            if sent:
                pending[0] = pending[0][sent:]

    def receive(self) -> Optional[Frame]:
        """Reads one frame; ``None`` at the end of the stream.

        Raises ``ProtocolError`` for a wrong frame and for a stream that ends
        inside one.
        """
        if not self.has_more:
            self._ahead, self._at = self._some(), 0
            if not self._ahead:
                return None
        header_len, nbufs = _PREFIX.unpack(self._read(_PREFIX.size))
        if header_len > MAX_HEADER_BYTES:
            raise ProtocolError(f"a frame declares a header of {header_len} bytes; at most {MAX_HEADER_BYTES} are allowed")
        if nbufs > MAX_BUFFERS:
            raise ProtocolError(f"a frame declares {nbufs} buffers; at most {MAX_BUFFERS} are allowed")
        lengths = struct.unpack(f"<{nbufs}Q", self._read(8 * nbufs)) if nbufs else ()
        for length in lengths:
            if length > MAX_BUFFER_BYTES:
                raise ProtocolError(f"a frame declares a buffer of {length} bytes; at most {MAX_BUFFER_BYTES} are allowed")
        header = _header(self._read(header_len))
        return header, [self._read(length) for length in lengths]

    def _some(self) -> bytes:
        if self.files is None:
            return self.socket.recv(_AHEAD_BYTES)
        data, ancillary, _, _ = self.socket.recvmsg(
            _AHEAD_BYTES, socket.CMSG_SPACE(_MAX_FILES * array.array("i").itemsize), socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                files = array.array("i")
                files.frombytes(content[: len(content) - len(content) % files.itemsize])
                self.files.extend(files)
        return data

    def _read(self, count: int) -> bytearray:
        """The next ``count`` bytes: what was read ahead, and what the socket gives."""
        end = self._at + count
        if end <= len(self._ahead):
            data = bytearray(self._ahead[self._at : end])
            self._at = end
            return data
        data = bytearray()
        while len(data) < count:
            piece = bytearray(min(_TRUSTED_BYTES, count - len(data)))
            self._fill(memoryview(piece))
            if len(piece) == count:
                return piece
            data += piece
        return data

    def _fill(self, into: memoryview) -> None:
        got, count = 0, into.nbytes
        while got < count:
            if self._at == len(self._ahead) and count - got >= _AHEAD_BYTES:
                received = self.socket.recv_into(into[got:])
            else:
                if self._at == len(self._ahead):
                    self._ahead, self._at = self._some(), 0
                received = min(count - got, len(self._ahead) - self._at)
                into[got : got + received] = self._ahead[self._at : self._at + received]
                self._at += received
            if received == 0:
                raise ProtocolError(f"the stream ended inside a frame: {got} of {count} bytes came")
            got += received

    def close(self) -> None:
        """Ends the channel: the peer reads to the end of the stream."""
        try:
            self.socket.close()
        except OSError:
            pass


def _header(text: bytearray) -> Header:
    try:
        header = json.loads(text.decode("utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        raise ProtocolError(f"a frame's header is not JSON: {error}") from None
    if not isinstance(header, dict) or not isinstance(header.get("t"), str):
        raise ProtocolError('a frame\'s header is not an object with a type "t"')
    return header
