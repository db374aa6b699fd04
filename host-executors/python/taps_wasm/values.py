"""How Python values become arguments of tasks, and outputs of tasks Python values.

The type that a task declares for a parameter decides:

===================================================  ==========================  ==================
declared type                                        Python value                on the wire
===================================================  ==========================  ==================
``Array<f64>``, ``f32 i64 i32 u64 u32 u8``           :class:`numpy.ndarray`      header and numbers
``Bytes``, ``&[u8]``, ``Payload``, ``File``          bytes-like                  the bytes
``Json``                                             what :mod:`json` takes      JSON text
numbers, ``bool``, ``char``, ``String``, ``&str``,   ``int``, ``float``,         an archive
``Vec<…>``, ``Option<…>``, tuples of these           ``str``, ``list``, …
``List<T>``, last                                    any number of values        each as ``T``
a type of the app's own                              bytes-like, or an array     the bytes
===================================================  ==========================  ==================

NumPy is imported only where an array is given or comes back.
"""

from __future__ import annotations

import json
import struct
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, List, NamedTuple, Optional, Tuple, Union

from . import _archive
from ._archive import Shape

if TYPE_CHECKING:
    import numpy

__all__ = ["ELEMENTS", "DeclaredType", "array_from_bytes", "array_to_bytes", "declared", "decode", "encode"]

Buffer = Union[bytes, bytearray, memoryview]

OCTETS = "application/octet-stream"
JSON = "application/json"
TEXT = "text/plain"

#: Rust's name of an array's element, with its code in the header and NumPy's name of the type.
ELEMENTS = {
    "f64": (1, "<f8"),
    "f32": (2, "<f4"),
    "i64": (3, "<i8"),
    "i32": (4, "<i4"),
    "u64": (5, "<u8"),
    "u32": (6, "<u4"),
    "u8": (7, "|u1"),
}
_BY_CODE = {code: (name, dtype) for name, (code, dtype) in ELEMENTS.items()}
_BY_DTYPE = {dtype: (name, code) for name, (code, dtype) in ELEMENTS.items()}

_MAGIC = b"TAPA"
_HEADER_BYTES = 64
_MAX_DIMENSIONS = 4
_HEADER = struct.Struct("<4sBBxx4Q24x")

_BYTES_NAMES = {"Bytes", "Payload", "File", "bytes", OCTETS}
_JSON_NAMES = {"Json", "json", JSON}
_TEXT_NAMES = {"String", "str", TEXT}


class DeclaredType(NamedTuple):
    """A type as a task declares it, read.

    Attributes:
        text: The declaration itself, without references and lifetimes.
        form: ``array``, ``bytes``, ``json``, ``archive``, ``text`` (plain, not an archive), ``rest``
            or ``opaque``: a type of the app's own.
        element: Name of an array's element; empty where it is not known.
        shape: What an archive is made of.
        inner: What a ``rest`` is a list of.
    """

    text: str
    form: str
    element: str = ""
    shape: Optional[Shape] = None
    inner: Optional["DeclaredType"] = None

    @property
    def expects(self) -> str:
        """What a Python caller has to give, for error messages."""
        if self.form == "array":
            return f"a numpy array of {_dtype_name(self.element)}" if self.element else "a numpy array"
        if self.form == "rest" and self.inner is not None:
            return self.inner.expects
        return {
            "bytes": "bytes, bytearray or memoryview",
            "json": "a value that JSON can express",
            "text": "a str",
            "archive": f"a value of {self.shape}",
            "opaque": f"a future of a task that gives a `{self.text}`, its bytes, or a numpy array",
        }[self.form]


@lru_cache(maxsize=4096)
def declared(text: str) -> DeclaredType:
    """Reads a declared type, for example ``&Array<f64>`` or ``Option<Vec<u32>>``."""
    plain = _strip(text)
    name, arguments = _generic(plain)
    if name == "Array" and len(arguments) <= 1:
        element = _strip(arguments[0]) if arguments else ""
        return DeclaredType(plain, "array", element if element in ELEMENTS else "")
    if name == "List" and len(arguments) == 1:
        return DeclaredType(plain, "rest", inner=declared(arguments[0]))
    if name == "Archived" and len(arguments) == 1:
        return declared(arguments[0])
    if plain in _BYTES_NAMES or plain == "[u8]" or name in _BYTES_NAMES:
        return DeclaredType(plain, "bytes")
    if plain in _JSON_NAMES or name in _JSON_NAMES or plain.endswith("serde_json::Value"):
        return DeclaredType(plain, "json")
    if plain == TEXT:
        return DeclaredType(plain, "text")
    shape = _shape(plain)
    if shape is not None:
        return DeclaredType(plain, "archive", shape=shape)
    return DeclaredType(plain, "opaque")


def _strip(text: str) -> str:
    """Without references, lifetimes and outer spaces."""
    plain = text.strip()
    while plain.startswith("&"):
        plain = plain[1:].strip()
        if plain.startswith("'"):
            plain = plain.partition(" ")[2].strip()
    return plain


def _generic(plain: str) -> Tuple[str, List[str]]:
    """The last segment of a path, and its arguments."""
    head, bracket, rest = plain.partition("<")
    name = head.rpartition("::")[2].strip()
    if not bracket or not rest.endswith(">"):
        return name, []
    return name, _split(rest[:-1])


def _split(text: str) -> List[str]:
    """Splits at commas that are not inside brackets."""
    parts, depth, start = [], 0, 0
    for index, character in enumerate(text):
        if character in "<([":
            depth += 1
        elif character in ">)]":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    last = text[start:].strip()
    return parts + [last] if last else parts


def _shape(text: str) -> Optional[Shape]:
    """Shape of a type whose archive this package can write and read."""
    plain = _strip(text)
    if plain.startswith("(") and plain.endswith(")"):
        items = [_shape(part) for part in _split(plain[1:-1])]
        known = tuple(item for item in items if item is not None)
        return Shape("tuple", items=known) if items and len(known) == len(items) else None
    name, arguments = _generic(plain)
    if not arguments:
        if name in _archive.SCALARS:
            return Shape("scalar", name)
        return Shape("text") if name in _TEXT_NAMES else None
    forms = {"Vec": "list", "Option": "option"}
    if name in forms and len(arguments) == 1:
        inner = _shape(arguments[0])
        return Shape(forms[name], items=(inner,)) if inner is not None else None
    return None


def encode(kind: DeclaredType, value: Any) -> Tuple[str, Buffer]:
    """Media type and bytes of an argument.

    Raises:
        TypeError: the value is not what the parameter takes.
        ValueError: it is, and does not fit.
    """
    if kind.form == "rest" and kind.inner is not None:
        return encode(kind.inner, value)
    if kind.form == "archive" and kind.shape is not None:
        return OCTETS, _archive.encode(kind.shape, value)
    if kind.form == "json":
        return JSON, _to_json(value)
    if kind.form == "text" and isinstance(value, str):
        return TEXT, value.encode("utf-8")
    if kind.form == "array":
        return OCTETS, _array_argument(kind, value)
    if _is_array(value):
        if kind.form == "opaque":
            return OCTETS, array_to_bytes(value)
        raise TypeError(
            f"expected {kind.expects}, got a numpy array: give `array.tobytes()` for its numbers alone, "
            "or `taps_wasm.array_to_bytes(array)` for the layout of `taps::Array`"
        )
    if isinstance(value, (bytes, bytearray, memoryview)):
        return OCTETS, _flat(value)
    raise TypeError(f"expected {kind.expects}, got {type(value).__name__}")


def _flat(value: Buffer) -> Buffer:
    if isinstance(value, memoryview) and not value.c_contiguous:
        return value.tobytes()
    # What may change before it is sent is copied now: an argument is the value at submission.
    return value if isinstance(value, bytes) else bytes(value)


def _to_json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except TypeError as error:
        raise TypeError(f"expected a value that JSON can express: {error}") from None
    except ValueError as error:
        raise ValueError(f"expected a value that JSON can express: {error}") from None


def _is_array(value: Any) -> bool:
    """Whether the value is a numpy array, without importing numpy."""
    numpy_module = sys.modules.get("numpy")
    return numpy_module is not None and isinstance(value, numpy_module.ndarray)


def _dtype_name(element: str) -> str:
    words = {"f": "float", "i": "int", "u": "uint"}
    return words[element[0]] + element[1:]


def _array_argument(kind: DeclaredType, value: Any) -> Buffer:
    """Bytes of an argument that has to be an array."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = _flat(value)
        problem = _header_problem(data, kind.element)
        if problem:
            raise ValueError(f"expected {kind.expects}, got {len(data)} bytes with {problem}")
        return data
    if isinstance(value, (str, dict)) or value is None:
        raise TypeError(f"expected {kind.expects}, got {type(value).__name__}")
    import numpy

    if not isinstance(value, numpy.ndarray):
        dtype = numpy.dtype(ELEMENTS[kind.element][1]) if kind.element else None
        try:
            value = numpy.asarray(value, dtype=dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise TypeError(f"expected {kind.expects}: {error}") from None
    given = value.dtype.newbyteorder("<").str
    if kind.element and given != ELEMENTS[kind.element][1]:
        name = _dtype_name(kind.element)
        raise TypeError(f"expected {kind.expects}, got one of {value.dtype}: convert it with `.astype({name!r})`")
    return array_to_bytes(value)


def array_to_bytes(array: "numpy.ndarray[Any, Any]") -> bytes:
    """A numpy array in the layout of ``taps::Array``: a header of 64 bytes, then the numbers, row-major.

    Raises:
        TypeError: the numbers are of a type that ``taps::Array`` does not hold.
        ValueError: the array does not have one to four dimensions.
    """
    import numpy

    given = array.dtype.newbyteorder("<").str
    if given not in _BY_DTYPE:
        names = ", ".join(_dtype_name(name) for name in ELEMENTS)
        raise TypeError(f"expected an array of {names}, got one of {array.dtype}")
    if not 1 <= array.ndim <= _MAX_DIMENSIONS:
        raise ValueError(f"expected an array of 1 to {_MAX_DIMENSIONS} dimensions, got {array.ndim}")
    plain = numpy.ascontiguousarray(array, dtype=given)
    shape = tuple(plain.shape) + (0,) * (_MAX_DIMENSIONS - plain.ndim)
    header = _HEADER.pack(_MAGIC, _BY_DTYPE[given][1], plain.ndim, *shape)
    return b"".join((header, plain.reshape(-1).view("u1").data))


def array_from_bytes(data: Buffer) -> "numpy.ndarray[Any, Any]":
    """The numpy array in such bytes: read-only, and not copied.

    Raises:
        ValueError: the bytes are no array.
    """
    problem = _header_problem(data, "")
    if problem:
        raise ValueError(f"{len(data)} bytes are no array: {problem}")
    import numpy

    _, code, dimensions, *extents = _HEADER.unpack_from(data)
    array = numpy.frombuffer(data, dtype=_BY_CODE[code][1], offset=_HEADER_BYTES)
    array = array.reshape(extents[:dimensions])
    # The same bytes may be on their way to another task.
    array.flags.writeable = False
    return array


def _header_problem(data: Buffer, element: str) -> str:
    """What is wrong with the header of an array; empty if nothing is."""
    if len(data) < _HEADER_BYTES or bytes(data[:4]) != _MAGIC:
        return "no array header"
    _, code, dimensions, *extents = _HEADER.unpack_from(data)
    if code not in _BY_CODE:
        return f"the unknown element type {code}"
    if element and _BY_CODE[code][0] != element:
        return f"elements of {_dtype_name(_BY_CODE[code][0])}"
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        return f"{dimensions} dimensions"
    size = int(_BY_CODE[code][1][2:])
    for extent in extents[:dimensions]:
        size *= extent
    if size + _HEADER_BYTES != len(data):
        return f"the shape {extents[:dimensions]}, which does not fit them"
    return ""


def decode(kind: DeclaredType, data: Buffer, media_type: str = OCTETS) -> Any:
    """The Python value of an output.

    Bytes of the app's own types come back as they are: as ``bytes``, which other tasks take; an array
    behind another name (``type Tile = Array<f64>``) is recognised by its header.

    Raises:
        ValueError: the bytes are not of the declared type.
    """
    if kind.form == "array":
        array = array_from_bytes(data)
        if kind.element and array.dtype.str != ELEMENTS[kind.element][1]:
            raise ValueError(f"the output is an array of {array.dtype}, and declared as `{kind.text}`")
        return array
    if kind.form == "archive" and kind.shape is not None:
        return _archive.decode(kind.shape, data)
    if kind.form == "json" or (kind.form == "opaque" and media_type == JSON):
        return json.loads(bytes(data))
    if kind.form == "text" or (kind.form == "opaque" and media_type.startswith(TEXT)):
        return bytes(data).decode("utf-8")
    if kind.form == "opaque" and _numpy_is_there() and not _header_problem(data, ""):
        return array_from_bytes(data)
    return data if isinstance(data, bytes) else bytes(data)


@lru_cache(maxsize=1)
def _numpy_is_there() -> bool:
    try:
        import numpy  # noqa: F401
    except ImportError:
        return False
    return True
