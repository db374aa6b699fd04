"""Archives: the bytes in which numbers, text, lists, options and tuples travel to tasks.

The format is rkyv's 0.8 (little-endian, aligned, 32-bit relative pointers): what a Rust guest reads in
place. The root is at the end; what it points to comes before::

    …children… | padding to the root's alignment | root

``tests/archives.json`` holds archives that both this module and the guest SDK are tested against.
"""

from __future__ import annotations

import operator
import struct
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

__all__ = ["SCALARS", "Shape", "decode", "encode"]

#: Rust's name of a scalar, with its size in bytes, which is its alignment, and its code in `struct`.
SCALARS: Dict[str, Tuple[int, str]] = {
    "u8": (1, "B"),
    "u16": (2, "H"),
    "u32": (4, "I"),
    "u64": (8, "Q"),
    "u128": (16, ""),
    "i8": (1, "b"),
    "i16": (2, "h"),
    "i32": (4, "i"),
    "i64": (8, "q"),
    "i128": (16, ""),
    "f32": (4, "f"),
    "f64": (8, "d"),
    "bool": (1, "?"),
    "char": (4, "I"),
}

#: Bytes of text that lie in the root itself.
_INLINE = 8
_MAX_TEXT = (1 << 30) - 1


class Shape(NamedTuple):
    """Shape of a value: what the archive of a declared type is made of.

    Attributes:
        form: ``scalar``, ``text``, ``list``, ``option`` or ``tuple``.
        name: Name of a scalar; empty otherwise.
        items: Shapes of what is inside.
    """

    form: str
    name: str = ""
    items: Tuple["Shape", ...] = ()

    def __str__(self) -> str:
        inner = ", ".join(str(item) for item in self.items)
        forms = {"list": f"Vec<{inner}>", "option": f"Option<{inner}>", "tuple": f"({inner})"}
        return self.name or forms.get(self.form, "String")


def _round_up(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment


def _layout(shape: Shape) -> Tuple[int, int]:
    """Size and alignment, in bytes, of a value inside an archive."""
    if shape.form == "scalar":
        size = SCALARS[shape.name][0]
        return size, size
    if shape.form in ("text", "list"):
        return 8, 4
    offsets, size, alignment = _fields(shape)
    return size, alignment


def _fields(shape: Shape) -> Tuple[List[int], int, int]:
    """Offsets of the items of an option or tuple, its size and its alignment."""
    position = 1 if shape.form == "option" else 0
    alignment = 1
    offsets = []
    for item in shape.items:
        size, of_item = _layout(item)
        position = _round_up(position, of_item)
        offsets.append(position)
        position += size
        alignment = max(alignment, of_item)
    return offsets, _round_up(position, alignment), alignment


def encode(shape: Shape, value: Any) -> bytes:
    """The archive of a value.

    Raises:
        TypeError: the value is not of that shape.
        ValueError: a number is out of range, or a text too long.
    """
    out = bytearray()
    place = _children(shape, value, out)
    size, alignment = _layout(shape)
    position = _align(out, alignment)
    out.extend(bytes(size))
    _place(shape, value, place, out, position)
    return bytes(out)


def _align(out: bytearray, alignment: int) -> int:
    position = _round_up(len(out), alignment)
    out.extend(bytes(position - len(out)))
    return position


def _children(shape: Shape, value: Any, out: bytearray) -> Any:
    """Writes what the value points to; returns where that is, for `_place`."""
    if shape.form == "text":
        if not isinstance(value, str):
            raise TypeError(f"expected a str, got {_describe(value)}")
        text = value.encode("utf-8")
        if len(text) > _MAX_TEXT:
            raise ValueError(f"expected a text of at most {_MAX_TEXT} bytes, got {len(text)} bytes")
        position = len(out)
        if len(text) > _INLINE:
            out.extend(text)
        return (text, position)
    if shape.form == "list":
        return _list_children(shape.items[0], value, out)
    if shape.form == "option":
        return None if value is None else _children(shape.items[0], value, out)
    if shape.form == "tuple":
        if isinstance(value, (str, bytes)) or not _is_sequence(value):
            raise TypeError(f"expected a tuple of {len(shape.items)}, got {_describe(value)}")
        if len(value) != len(shape.items):
            raise ValueError(f"expected a tuple of {len(shape.items)}, got one of {len(value)}")
        return [_children(item, part, out) for item, part in zip(shape.items, value)]
    return None


def _list_children(item: Shape, value: Any, out: bytearray) -> Tuple[int, int]:
    if item.name == "u8" and isinstance(value, (bytes, bytearray, memoryview)):
        position = len(out)
        out.extend(value)
        return (position, len(out) - position)
    if isinstance(value, (str, dict, set, frozenset)) or not _is_sequence(value):
        raise TypeError(f"expected a list of {item}, got {_describe(value)}")
    values = list(value)
    places = [_children(item, part, out) for part in values]
    size, alignment = _layout(item)
    start = _align(out, alignment)
    out.extend(bytes(size * len(values)))
    for index, (part, place) in enumerate(zip(values, places)):
        _place(item, part, place, out, start + index * size)
    return (start, len(values))


def _place(shape: Shape, value: Any, place: Any, out: bytearray, position: int) -> None:
    """Writes the value itself at its position."""
    if shape.form == "scalar":
        packed = _pack(shape.name, value)
        out[position : position + len(packed)] = packed
    elif shape.form == "text":
        text, start = place
        if len(text) <= _INLINE:
            out[position : position + _INLINE] = text.ljust(_INLINE, b"\xff")
        else:
            length = (len(text) & 0x3F) | 0x80 | ((len(text) & ~0x3F) << 2)
            struct.pack_into("<Ii", out, position, length, start - position)
    elif shape.form == "list":
        start, count = place
        struct.pack_into("<iI", out, position, start - position, count)
    elif shape.form == "option":
        if value is not None:
            out[position] = 1
            (offset,), _, _ = _fields(shape)
            _place(shape.items[0], value, place, out, position + offset)
    else:
        offsets, _, _ = _fields(shape)
        for item, part, inner, offset in zip(shape.items, value, place, offsets):
            _place(item, part, inner, out, position + offset)


def _pack(name: str, value: Any) -> bytes:
    size, code = SCALARS[name]
    if name == "bool":
        if not _is_bool(value):
            raise TypeError(f"expected a bool, got {_describe(value)}")
        return struct.pack("<?", bool(value))
    if name == "char":
        if not isinstance(value, str) or len(value) != 1:
            raise TypeError(f"expected one character, got {_describe(value)}")
        return struct.pack("<I", ord(value))
    if name in ("f32", "f64"):
        return _pack_float(name, code, value)
    if _is_bool(value):
        raise TypeError(f"expected an integer ({name}), got {_describe(value)}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"expected an integer ({name}), got {_describe(value)}") from None
    signed = name.startswith("i")
    low = -(1 << (8 * size - 1)) if signed else 0
    high = (1 << (8 * size - (1 if signed else 0))) - 1
    if not low <= number <= high:
        raise ValueError(f"expected an integer from {low} to {high} ({name}), got {number}")
    return number.to_bytes(size, "little", signed=signed)


def _pack_float(name: str, code: str, value: Any) -> bytes:
    if isinstance(value, (str, bytes)) or _is_bool(value):
        raise TypeError(f"expected a number ({name}), got {_describe(value)}")
    try:
        return struct.pack("<" + code, float(value))
    except TypeError:
        raise TypeError(f"expected a number ({name}), got {_describe(value)}") from None
    except OverflowError:
        raise ValueError(f"expected a number that fits {name}, got {value}") from None


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")


def _is_sequence(value: Any) -> bool:
    return hasattr(value, "__len__") and hasattr(value, "__iter__")


def _describe(value: Any) -> str:
    """A value for an error message: its type, and itself where it is short."""
    text = repr(value)
    return type(value).__name__ if len(text) > 40 else f"{type(value).__name__} {text}"


def decode(shape: Shape, data: Any) -> Any:
    """The value in an archive.

    Raises:
        ValueError: the bytes are not an archive of that shape.
    """
    view = memoryview(data).cast("B")
    size, alignment = _layout(shape)
    position = len(view) - size
    if position < 0 or position % alignment:
        raise ValueError(f"{len(view)} bytes are no archive of {shape}")
    return _read(shape, view, position)


def _bytes_at(view: memoryview, start: int, size: int) -> memoryview:
    if start < 0 or size < 0 or start + size > len(view):
        raise ValueError(f"the archive points outside of its {len(view)} bytes")
    return view[start : start + size]


def _read(shape: Shape, view: memoryview, position: int) -> Any:
    if shape.form == "scalar":
        return _unpack(shape.name, _bytes_at(view, position, SCALARS[shape.name][0]))
    if shape.form == "text":
        return _read_text(view, position)
    if shape.form == "list":
        return _read_list(shape.items[0], view, position)
    offsets, _, _ = _fields(shape)
    if shape.form == "option":
        (tag,) = _bytes_at(view, position, 1)
        if tag > 1:
            raise ValueError(f"an option has the tag {tag}; it is 0 or 1")
        return _read(shape.items[0], view, position + offsets[0]) if tag else None
    return tuple(_read(item, view, position + at) for item, at in zip(shape.items, offsets))


def _read_text(view: memoryview, position: int) -> str:
    root = bytes(_bytes_at(view, position, 8))
    if root[0] & 0xC0 != 0x80:
        text = root.split(b"\xff", 1)[0]
    else:
        length, offset = struct.unpack("<Ii", root)
        length = (length & 0x3F) | ((length & ~0xFF) >> 2)
        text = bytes(_bytes_at(view, position + offset, length))
    return text.decode("utf-8")


def _read_list(item: Shape, view: memoryview, position: int) -> Any:
    offset, count = struct.unpack("<iI", _bytes_at(view, position, 8))
    size, _ = _layout(item)
    start = position + offset
    data = _bytes_at(view, start, size * count)
    code = SCALARS[item.name][1] if item.form == "scalar" and item.name != "char" else ""
    if code:
        values: Sequence[Any] = struct.unpack(f"<{count}{code}", data)
        return list(values)
    return [_read(item, view, start + index * size) for index in range(count)]


def _unpack(name: str, data: memoryview) -> Any:
    size, code = SCALARS[name]
    if name == "char":
        number = int.from_bytes(data, "little")
        if number > 0x10FFFF or 0xD800 <= number < 0xE000:
            raise ValueError(f"{number:#x} is no character")
        return chr(number)
    if not code:
        return int.from_bytes(data, "little", signed=name.startswith("i"))
    return struct.unpack("<" + code, data)[0]
