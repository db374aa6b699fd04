"""Archives against those of the guest SDK: its test `archives` reads the same file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from taps_wasm import _archive
from taps_wasm.values import declared, decode, encode

CASES = json.loads((Path(__file__).parent / "archives.json").read_text(encoding="utf-8"))


def value_of(case):
    """The value of a case: JSON has neither tuples nor integers beyond 64 bits."""
    kind = declared(case["type"]).shape

    def made(shape, value):
        if shape.form == "tuple":
            return tuple(made(item, part) for item, part in zip(shape.items, value))
        if shape.form == "list":
            return [made(shape.items[0], part) for part in value]
        if shape.form == "option":
            return None if value is None else made(shape.items[0], value)
        return int(value) if shape.name in ("u128", "i128") else value

    return made(kind, case["value"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['type']} {str(case['value'])[:20]}")
def test_archives_are_those_of_the_sdk(case):
    kind, value = declared(case["type"]), value_of(case)
    media_type, data = encode(kind, value)
    assert (media_type, data.hex()) == ("application/octet-stream", case["archive"])
    assert decode(kind, bytearray(data)) == value


@pytest.mark.parametrize(
    ("kind", "value", "error", "says"),
    [
        ("u8", 256, ValueError, "from 0 to 255"),
        ("i64", 1 << 63, ValueError, "from -9223372036854775808"),
        ("u32", True, TypeError, "integer.*got bool True"),
        ("u32", 1.0, TypeError, "integer.*got float 1.0"),
        ("f64", "1", TypeError, "number"),
        ("f32", 1e300, ValueError, "fits f32"),
        ("bool", 1, TypeError, "bool"),
        ("char", "ab", TypeError, "one character"),
        ("String", b"x", TypeError, "str"),
        ("Vec<u32>", "abc", TypeError, "list of u32"),
        ("Vec<u32>", {1, 2}, TypeError, "list of u32"),
        ("Vec<String>", ["a", 1], TypeError, "str, got int 1"),
        ("(u32, u32)", (1,), ValueError, "tuple of 2"),
        ("Option<u32>", "no", TypeError, "integer"),
    ],
)
def test_a_value_of_another_kind_is_refused(kind, value, error, says):
    with pytest.raises(error, match=says):
        _archive.encode(declared(kind).shape, value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['type']} {str(case['value'])[:20]}")
def test_broken_archives_are_refused_or_read_as_something(case):
    """Every cut and every flipped byte: never anything but a value or a ValueError."""
    kind = declared(case["type"]).shape
    data = bytes.fromhex(case["archive"])
    broken = [data[:length] for length in range(len(data))]
    for position in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            broken.append(data[:position] + bytes([data[position] ^ flip]) + data[position + 1 :])
    for candidate in broken:
        try:
            _archive.decode(kind, candidate)
        except ValueError:
            pass
