"""`--config.run=compare`: what it reads, where it writes, what it refuses."""

from __future__ import annotations

import pytest

from jaxcxr.commands import compare
from jaxcxr.errors import InputError
from jaxcxr.storage.files import write_json
from tests import tiny
from tests.report import fakes


def test_it_reads_two_runs_and_writes_below_the_first(tmp_path, capsys):
    for name, learner in (("plain", "densenet161"), ("augmented", "resnet152")):
        fakes.write_run(tmp_path / name, fakes.predictions(learner=learner))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    compare.run(tiny.learner(compare__other=str(tmp_path / "augmented")), tmp_path / "plain")
    printed = capsys.readouterr().out
    target = tmp_path / "plain" / "compare" / "augmented"
    assert f"wrote {target / 'compare.md'}" in printed and "Not for diagnosis" in printed
    assert "All images: " in printed and (target / "table.txt").read_text() in printed
    assert {path.name for path in target.iterdir()} == {
        "compare.json",
        "compare.md",
        "plots",
        "table.txt",
    }
    for path, content in before.items():
        assert path.read_bytes() == content


def test_what_the_runs_were_warned_of_is_said_again(tmp_path, capsys):
    for name, text in (("one", "Class and source are confounded."), ("two", "Hardly trained.")):
        fakes.write_run(tmp_path / name, fakes.predictions())
        write_json(tmp_path / name / "report.json", {"warnings": [text]})
    compare.run(tiny.learner(compare__other=str(tmp_path / "two")), tmp_path / "one")
    written = (tmp_path / "one" / "compare" / "two" / "compare.md").read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    for text in ("Class and source are confounded.", "Hardly trained."):
        assert f"> **Warning.** {text}" in written and f"Warning. {text}" in printed


def test_mistakes_are_named_and_leave_nothing_behind(tmp_path):
    with pytest.raises(InputError, match="compare.other is empty: name the run folder"):
        compare.run(tiny.learner(), tmp_path / "run")
    with pytest.raises(InputError, match=r"run.predictions\.npz is missing"):
        compare.run(tiny.learner(compare__other=str(tmp_path)), tmp_path / "run")
    segmenter = tiny.shrink(tiny.load("fc_densenet103"))
    with pytest.raises(InputError, match="a segment run has none"):
        compare.run(segmenter, tmp_path / "run")
    assert not list(tmp_path.iterdir())
