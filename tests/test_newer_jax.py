"""The warning of a newer JAX reads what pyproject.toml allows and what pip answers."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[1] / ".ci" / "newer_jax.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("newer_jax", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bound_is_that_of_the_project(script):
    assert script.bound('[project]\ndependencies = ["jax>=0.7.2,<0.13", "jaxtyping"]') == (0, 13)
    assert script.bound(script.PROJECT.read_text(encoding="utf-8")) > (0, 7)


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        ("jax (0.12.0.1)\nAvailable versions: 0.12.0.1, 0.11.0", 0, "0.12 is the newest"),
        ("jax (9.1.0)\nAvailable versions: 9.1.0", 1, "WARNING: JAX 9.1 is out, and pyproject"),
    ],
)
def test_a_newer_minor_is_told(script, monkeypatch, capsys, answer, status, text):
    done = subprocess.CompletedProcess([], 0, stdout=answer)
    monkeypatch.setattr(script.subprocess, "run", lambda *_, **__: done)
    assert script.main() == status
    assert text in capsys.readouterr().out
