"""The program ``taps-wasm`` on the host of an engine's worker.

Travels with the worker's shim: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import struct

_MACHINES = {
    3: "x86",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}
"""Architectures by their number in the header of an ELF file."""
_KERNELS = {"amd64": "x86_64", "arm64": "aarch64", "ppc64le": "ppc64"}
"""Other names that a kernel gives them."""


class SetupFailed(Exception):
    """A child cannot serve this run: no binary, another version, a broken bundle."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind
        self.message = message


def machine_of(path):
    """The architecture that a program is for; ``None`` where it is no ELF file, such as a script."""
    try:
        with open(path, "rb") as file:
            head = file.read(20)
    except OSError:
        return None
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return None
    (number,) = struct.unpack("<H" if head[5] == 1 else ">H", head[18:20])
    return _MACHINES.get(number, "architecture %d" % number)


def _of_this_architecture(path, origin):
    """``path``, or ``SetupFailed`` where it is a program for other processors than those of this host."""
    machine = machine_of(path)
    kernel = _KERNELS.get(platform.machine(), platform.machine())
    # A kernel may run what it is not itself: this interpreter runs, too.
    ours = (kernel, machine_of("/proc/self/exe"))
    if machine is None or kernel not in _MACHINES.values() or machine in ours:
        return path
    raise SetupFailed(
        "architecture",
        "%s = %s is a program for %s, and the worker's host %s is %s: set executor.worker_binary or the environment "
        "variable TAPS_WASM_BIN to the path of a taps-wasm for %s on that host"
        % (origin, path, machine, socket.gethostname(), kernel, kernel),
    )


def find(settings):
    """The path of ``taps-wasm`` on this host, or ``SetupFailed``."""
    tried = []
    for origin, path in (("executor.worker_binary", settings.get("binary")), ("TAPS_WASM_BIN", os.environ.get("TAPS_WASM_BIN"))):
        if path:
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return _of_this_architecture(path, origin)
            tried.append("%s = %s (no executable file)" % (origin, path))
        else:
            tried.append("%s (not set)" % origin)
    found = shutil.which("taps-wasm")
    if found:
        return _of_this_architecture(found, "PATH")
    tried.append("taps-wasm on PATH (not found)")
    raise SetupFailed(
        "no-binary",
        "no taps-wasm program on the worker's host %s; tried %s. Install it there, or set executor.worker_binary "
        "or the environment variable TAPS_WASM_BIN to its path on that host" % (socket.gethostname(), "; ".join(tried)),
    )
