"""Values by declared type."""

from __future__ import annotations

import struct
import subprocess
import sys

import pytest

import taps_wasm
from taps_wasm.values import ELEMENTS, declared, decode, encode


@pytest.mark.parametrize(
    ("text", "form", "plain"),
    [
        ("&Array<f64>", "array", "Array<f64>"),
        ("taps::Array<u8>", "array", "taps::Array<u8>"),
        ("&'a [u8]", "bytes", "[u8]"),
        ("Bytes", "bytes", "Bytes"),
        ("Payload", "bytes", "Payload"),
        ("File", "bytes", "File"),
        ("application/octet-stream", "bytes", "application/octet-stream"),
        ("taps::Json", "json", "taps::Json"),
        ("serde_json::Value", "json", "serde_json::Value"),
        ("application/json", "json", "application/json"),
        ("text/plain", "text", "text/plain"),
        ("&str", "archive", "str"),
        ("std::string::String", "archive", "std::string::String"),
        ("&Archived<Vec<u32>>", "archive", "Vec<u32>"),
        ("Option<Vec<(u32, String)>>", "archive", "Option<Vec<(u32, String)>>"),
        ("Vec<Molecule>", "opaque", "Vec<Molecule>"),
        ("(u32, Place)", "opaque", "(u32, Place)"),
        ("Tile", "opaque", "Tile"),
        ("List<&Array<f32>>", "rest", "List<&Array<f32>>"),
        ("", "opaque", ""),
        ("Vec<", "opaque", "Vec<"),
        ("()", "opaque", "()"),
    ],
)
def test_declared_types_are_read(text, form, plain):
    kind = declared(text)
    assert (kind.form, kind.text) == (form, plain)
    if kind.form == "rest":
        assert kind.inner.form == "array" and kind.inner.element == "f32"


def test_bytes_json_and_text_travel():
    for given in (b"abc", bytearray(b"abc"), memoryview(b"abc"), memoryview(b"a.b.c.")[::2]):
        assert encode(declared("&[u8]"), given) == ("application/octet-stream", b"abc")
    assert encode(declared("Json"), {"é": [1, None]}) == ("application/json", '{"é": [1, null]}'.encode())
    assert encode(declared("text/plain"), "é") == ("text/plain", "é".encode())
    assert decode(declared("Json"), bytearray(b'{"a": 1}')) == {"a": 1}
    assert decode(declared("Thing"), b'{"a": 1}', "application/json") == {"a": 1}
    assert decode(declared("Thing"), b"a", "text/plain; charset=utf-8") == "a"
    assert decode(declared("Thing"), bytearray(b"a")) == b"a"


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        ("Bytes", "text", "bytes, bytearray or memoryview, got str"),
        ("Bytes", [1, 2], "got list"),
        ("Json", b"x", "JSON"),
        ("Json", object(), "JSON"),
        ("text/plain", 7, "a str, got int"),
        ("Array<f64>", "text", "numpy array of float64, got str"),
        ("Array<u8>", None, "numpy array of uint8, got NoneType"),
        ("Tile", 7, "a future of a task that gives a `Tile`"),
        ("u32", "7", "integer"),
    ],
)
def test_a_value_of_another_kind_is_refused(kind, value, says):
    with pytest.raises(TypeError, match=says):
        encode(declared(kind), value)


class TestArrays:
    """Needs NumPy."""

    numpy = pytest.importorskip("numpy")

    @pytest.mark.parametrize("element", sorted(ELEMENTS))
    @pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 0, 3), (1, 2, 3, 4)])
    def test_every_type_and_shape_comes_back(self, element, shape):
        dtype = ELEMENTS[element][1]
        given = (self.numpy.arange(self.numpy.prod(shape)) % 200).astype(dtype).reshape(shape)
        _, data = encode(declared(f"&Array<{element}>"), given)
        assert len(data) == 64 + given.nbytes
        for kind in (f"Array<{element}>", "Alias"):
            got = decode(declared(kind), bytearray(data))
            assert got.dtype == given.dtype and got.shape == shape and (got == given).all()
            assert not got.flags.writeable

    def test_the_header_is_that_of_the_sdk(self):
        data = taps_wasm.array_to_bytes(self.numpy.array([[1.0, 2.0]]))
        header = b"TAPA" + bytes([1, 2, 0, 0]) + struct.pack("<4Q", 1, 2, 0, 0) + bytes(24)
        assert data == header + struct.pack("<2d", 1.0, 2.0)

    def test_strides_and_byte_order_do_not_matter(self):
        given = self.numpy.arange(12.0).reshape(3, 4)
        for variant in (given[::-1, ::2], given.T, given.astype(">f8"), self.numpy.asfortranarray(given)):
            got = decode(declared("Array<f64>"), encode(declared("Array<f64>"), variant)[1])
            assert (got == variant).all()

    def test_lists_become_arrays(self):
        got = decode(declared("Array<f32>"), encode(declared("Array<f32>"), [[1, 2], [3, 4]])[1])
        assert got.dtype == self.numpy.float32 and got.tolist() == [[1, 2], [3, 4]]

    @pytest.mark.parametrize(
        ("given", "error", "says"),
        [
            (lambda numpy: numpy.arange(3), TypeError, r"array of float64, got one of int64.*astype\('float64'\)"),
            (lambda numpy: numpy.array(1.0), ValueError, "1 to 4 dimensions, got 0"),
            (lambda numpy: numpy.zeros((1,) * 5), ValueError, "1 to 4 dimensions, got 5"),
            (lambda numpy: [[1.0], [2.0, 3.0]], TypeError, "array of float64"),
            (lambda numpy: b"short", ValueError, "5 bytes with no array header"),
        ],
    )
    def test_an_array_that_does_not_fit_is_refused(self, given, error, says):
        with pytest.raises(error, match=says):
            encode(declared("Array<f64>"), given(self.numpy))

    def test_an_array_is_not_taken_for_bytes(self):
        with pytest.raises(TypeError, match=r"array\.tobytes\(\).*array_to_bytes"):
            encode(declared("Payload"), self.numpy.zeros(3))
        with pytest.raises(TypeError, match="float64, .*got one of complex128"):
            encode(declared("Alias"), self.numpy.zeros(3, dtype=complex))

    def test_broken_headers_are_refused(self):
        data = taps_wasm.array_to_bytes(self.numpy.zeros((2, 3)))
        for wrong, says in [
            (data[:63], "no array header"),
            (b"TAPB" + data[4:], "no array header"),
            (data[:4] + b"\x09" + data[5:], "element type 9"),
            (data[:5] + b"\x05" + data[6:], "5 dimensions"),
            (data[:8] + b"\xff" * 8 + data[16:], "does not fit"),
            (data + b"x", "does not fit"),
        ]:
            with pytest.raises(ValueError, match=says):
                taps_wasm.array_from_bytes(wrong)
            # Behind an alias such bytes are just bytes.
            assert decode(declared("Alias"), wrong) == wrong
        with pytest.raises(ValueError, match="declared as `Array<f32>`"):
            decode(declared("Array<f32>"), data)


def test_numpy_is_not_imported_without_need():
    code = (
        "import sys, taps_wasm\n"
        "from taps_wasm.values import declared, decode, encode\n"
        "encode(declared('Bytes'), b'x'); encode(declared('Thing'), b'x'); decode(declared('u8'), b'x')\n"
        "assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
