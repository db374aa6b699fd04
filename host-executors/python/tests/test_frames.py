"""The frame codec against itself, against wrong bytes and against large buffers."""

from __future__ import annotations

import random
import socket
import struct
import threading
from typing import Any, List, Tuple

import harness  # noqa: F401 - puts the package on the path
import pytest
from taps_wasm import _frames


def pair() -> Tuple[_frames.Channel, _frames.Channel]:
    ours, theirs = socket.socketpair()
    return _frames.Channel(ours), _frames.Channel(theirs)


def sent(header: Any, buffers: List[bytes]) -> Any:
    ours, theirs = pair()
    thread = threading.Thread(target=ours.send, args=(header, buffers))
    thread.start()
    got = theirs.receive()
    thread.join()
    return got


@pytest.mark.parametrize("seed", range(20))
def test_what_is_sent_is_received(seed: int) -> None:
    chance = random.Random(seed)
    header = {"t": "x", "text": "é\u0000" * chance.randrange(50), "n": [chance.random(), None, True]}
    buffers = [chance.randbytes(chance.choice([0, 1, 7, 4096, 70_000])) for _ in range(chance.randrange(12))]
    got_header, got = sent(header, buffers)
    assert got_header == header
    assert [bytes(buffer) for buffer in got] == buffers


def test_many_and_large_buffers() -> None:
    many = [b"%d" % n for n in range(5000)]
    assert [bytes(buffer) for buffer in sent({"t": "many"}, many)[1]] == many
    large = bytes(range(256)) * (80 << 12)  # 80 MiB: beyond what a declared length is trusted for.
    assert sent({"t": "large"}, [large])[1][0] == large


def test_any_contiguous_buffer_is_taken() -> None:
    import array

    numbers = array.array("d", [1.0, 2.0])
    assert bytes(sent({"t": "x"}, [memoryview(numbers)])[1][0]) == numbers.tobytes()


def test_the_layout_is_the_contract() -> None:
    ours, theirs = socket.socketpair()
    _frames.Channel(ours).send({"t": "a"}, [b"xy", b""])
    assert theirs.recv(100) == struct.pack("<IIQQ", 9, 2, 2, 0) + b'{"t":"a"}' + b"xy"


@pytest.mark.parametrize(
    "data,says",
    [
        (struct.pack("<II", (64 << 20) + 1, 0), "header of"),
        (struct.pack("<II", 2, 65537), "65537 buffers"),
        (struct.pack("<IIQ", 2, 1, (1 << 40) + 1), "buffer of"),
        (struct.pack("<II", 2, 0) + b"{]", "not JSON"),
        (struct.pack("<II", 2, 0) + b"\xff\xff", "not JSON"),
        (struct.pack("<II", 2, 0) + b"[]", "not an object"),
        (struct.pack("<II", 7, 0) + b'{"t":1}', "not an object"),
        (b"\x01\x00", "ended inside"),
        (struct.pack("<II", 9, 0) + b'{"t":', "ended inside"),
        (struct.pack("<IIQ", 9, 1, 100) + b'{"t":"a"}' + b"short", "ended inside"),
    ],
)
def test_wrong_frames_are_refused(data: bytes, says: str) -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(data)
    ours.close()
    with pytest.raises(_frames.ProtocolError, match=says):
        _frames.Channel(theirs).receive()


def test_the_end_between_frames_is_no_error() -> None:
    ours, theirs = pair()
    ours.send({"t": "last"})
    ours.close()
    assert theirs.receive() is not None
    assert theirs.receive() is None


def test_too_many_buffers_are_not_sent() -> None:
    with pytest.raises(_frames.ProtocolError, match="65537 buffers"):
        _frames.encode({"t": "x"}, [b""] * 65537)
