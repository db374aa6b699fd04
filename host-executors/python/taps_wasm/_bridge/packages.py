"""The Python packages that engines come in, and which of them an interpreter has.

Of the standard library alone, and nothing beside it is imported: ``taps-wasm doctor`` runs the text of this
file in the interpreter that it is asked about, which may have no engine, or be too old for the bridge.
"""

import importlib.metadata
import importlib.util
import json
import platform
import sys
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

MINIMUM_PYTHON = (3, 9)


class Package(NamedTuple):
    """A package of an engine."""

    name: str
    """As it is installed."""
    module: str
    """As it is imported."""
    minimum: Tuple[int, ...]
    """The first version that the bridge knows; empty where all serve."""
    executors: Tuple[str, ...]
    """Executors that need it."""


DASK = Package("distributed", "distributed", (2024, 1), ("dask",))
RAY = Package("ray", "ray", (2, 9), ("ray",))
PARSL = Package("parsl", "parsl", (2024, 1), ("parsl-local", "parsl-htex"))
GLOBUS = Package("globus-compute-sdk", "globus_compute_sdk", (3,), ("globus",))
TASKVINE = Package("ndcctools", "ndcctools.taskvine", (), ("taskvine",))
HYPERQUEUE = Package("hyperqueue", "hyperqueue", (), ("hyperqueue",))
PACKAGES = (DASK, RAY, PARSL, GLOBUS, TASKVINE, HYPERQUEUE)


def is_older(version: str, minimum: Tuple[int, ...]) -> bool:
    """Whether a version such as ``2024.1.0rc1`` comes before ``minimum``."""
    parts = []
    for part in version.split("."):
        digits = "".join(character for character in part if character.isdigit())
        if not digits:
            break
        parts.append(int(digits))
    return tuple(parts) < minimum


def how_to_install(name: str) -> str:
    """What to type to get a package for this interpreter."""
    if name == "ndcctools":
        return "conda install -c conda-forge ndcctools"
    return '%s -m pip install "%s"' % (sys.executable, name)


def survey() -> Dict[str, Any]:
    """What this interpreter has. Nothing is imported: that would take seconds, and may print."""
    found: List[Dict[str, Any]] = []
    for package in PACKAGES:
        version = _version(package)
        wanted = ".".join(str(part) for part in package.minimum)
        install = package.name if version is None or not wanted else "%s>=%s" % (package.name, wanted)
        found.append(
            {
                "name": package.name,
                "executors": package.executors,
                "version": version,
                "minimum": wanted or None,
                "supported": version is not None and (version == "unknown" or not is_older(version, package.minimum)),
                "install": how_to_install(install),
            }
        )
    return {
        "version": platform.python_version(),
        "executable": sys.executable,
        "supported": sys.version_info[:2] >= MINIMUM_PYTHON,
        "minimum": ".".join(str(part) for part in MINIMUM_PYTHON),
        "packages": found,
    }


def _version(package: Package) -> Optional[str]:
    """Its version; ``unknown`` where it is there and does not say; ``None`` where it cannot be found."""
    try:
        if importlib.util.find_spec(package.module.partition(".")[0]) is None:
            return None
        return importlib.metadata.version(package.name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
    except Exception:  # noqa: BLE001 - a path hook of others
        return None


if __name__ == "__main__":
    # Run as a text, an interpreter also looks into the working directory, where a folder may have a package's name.
    sys.path[:] = [entry for entry in sys.path if entry]
    print(json.dumps(survey()))
