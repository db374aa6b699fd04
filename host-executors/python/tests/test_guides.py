"""The configurations in the guides are ones that the engines take; nothing is submitted."""

from __future__ import annotations

import os
import re
from typing import Any, Dict, List

import pytest
from harness import PYTHON_DIR, needs

from taps_wasm._bridge import hyperqueue

GUIDES = os.path.join(PYTHON_DIR, "..", "..", "docs", "engines")


def examples(name: str) -> List[Dict[str, Any]]:
    """The TOML blocks of a guide."""
    tomllib = pytest.importorskip("tomllib")
    with open(os.path.join(GUIDES, name), encoding="utf-8") as file:
        text = file.read()
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert blocks, f"{name} has no example"
    return [tomllib.loads(block)["engine"]["executor"] for block in blocks]


@needs("parsl")
def test_providers_of_the_slurm_guide() -> None:
    from taps_wasm._bridge import parsl as adapter

    kinds = []
    for executor in examples("slurm.md"):
        provider = dict(executor.get("htex", {}).get("provider") or {})
        if provider:
            kinds.append(provider.pop("kind"))
            made = adapter._provider(kinds[-1], provider)
            assert made.nodes_per_block >= 1
    assert kinds == ["SlurmProvider", "PBSProProvider"]


def test_hyperqueue_of_the_slurm_guide(monkeypatch: Any) -> None:
    monkeypatch.setattr(hyperqueue.shutil, "which", lambda name: name)
    (executor,) = [executor for executor in examples("slurm.md") if executor.get("name") == "hyperqueue"]
    options = hyperqueue._options(executor)
    assert options["hq"] == "/shared/bin/hq" and options["shared_dir"] == "/scratch/me/taps"
    assert options["alloc"][:2] == ["slurm", "--time-limit"] and "--" in options["alloc"]
