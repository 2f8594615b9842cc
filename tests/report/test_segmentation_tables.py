"""Tables of a segmenter beside the main one."""

from __future__ import annotations

from jaxcxr.report import segmentation_tables
from jaxcxr.report.document import Report

SCORES = {
    "accuracy": 0.9575,
    "jaccard": 0.8666,
    "jaccard_smoothed": 0.8667,
    "dice": 0.9273,
    "pooled_jaccard": 0.87,
    "pooled_dice": 0.93,
}
OVERLAP = {
    "scores": [
        {"choice": "configured", "threshold": 0.2, **SCORES},
        {"choice": "half", "threshold": 0.5, **SCORES, "dice": None},
        {"choice": "best on validation", "threshold": 0.35, **SCORES},
    ],
    "classes": {
        "covid19": {"images": 1320, **SCORES},
        "other": {"images": 0, **dict.fromkeys(SCORES)},
    },
}


def test_each_threshold_and_each_class_has_a_line():
    first, second = segmentation_tables.texts(OVERLAP)
    assert first.splitlines()[0].split("  ")[0] == "Choice"
    assert [line.split() for line in first.splitlines()[2:]] == [
        ["predict.threshold", "0.20", "0.9575", "0.8666", "0.9273", "0.8700", "0.9300"],
        ["one", "half", "0.50", "0.9575", "0.8666", "–", "0.8700", "0.9300"],
        ["best", "on", "validation", "0.35", "0.9575", "0.8666", "0.9273", "0.8700", "0.9300"],
    ]
    assert [line.split() for line in second.splitlines()[2:]] == [
        ["COVID-19", "1,320", "0.9575", "0.8666", "0.9273", "0.8700", "0.9300"],
        ["Other", "0", "–", "–", "–", "–", "–"],
    ]


def test_the_report_says_which_mean_is_which(tmp_path):
    report = Report(tmp_path, {})
    segmentation_tables.add_details(report, OVERLAP)
    text = "\n\n".join(report.blocks)
    assert "### Thresholds\n\n| Choice" in text and "### Scores by class\n\n| Class" in text
    assert (
        text.endswith(segmentation_tables.NOTE)
        and "means over images; pooled" in segmentation_tables.NOTE
    )


def test_a_softmax_without_classes_adds_nothing(tmp_path):
    alone = {"scores": [{"choice": "configured", "threshold": None, **SCORES}], "classes": {}}
    for overlap in (alone, {}):  # {}: of a run from before there were such scores
        report = Report(tmp_path, {})
        segmentation_tables.add_details(report, overlap)
        assert not report.blocks and segmentation_tables.texts(overlap) == []
