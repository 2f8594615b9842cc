"""Excluded images in reports."""

import json

from jaxcxr.report.document import Report
from jaxcxr.report.excluded import add_excluded

DROPPED = {
    "ccx: view L": {"count": 2, "names": ["a.png", "b.png"], "is_fault": False},
    "ccx: missing file": {"count": 1200, "names": ["c.png", "d.png", "e.png"], "is_fault": True},
}


def write(folder, dataset):
    (folder / "manifest.json").write_text(json.dumps({"dataset": dataset}))
    report = Report(folder, {})
    add_excluded(report, folder)
    return report


def test_each_reason_is_shown_with_its_number_and_names_faults_first(tmp_path):
    report = write(tmp_path, {"dropped": DROPPED, "notices": ["a is b"]})
    text = "\n".join(report.blocks)
    assert text.startswith("## Excluded images")
    assert text.index("ccx: missing file") < text.index("ccx: view L")
    assert "1,200" in text and "c.png, d.png, e.png, ..." in text and "- Note: a is b" in text
    assert report.facts["excluded_images"] == DROPPED


def test_a_run_without_exclusions_says_so_and_an_old_manifest_is_named(tmp_path):
    assert "None" in write(tmp_path, {"dropped": {}, "notices": []}).blocks[-1]
    assert write(tmp_path, {}).left_out == ["Excluded images (manifest.json does not list them)."]
