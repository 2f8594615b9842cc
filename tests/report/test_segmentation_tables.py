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
        and "over the structures; pooled" in segmentation_tables.NOTE
    )


def test_a_softmax_without_classes_adds_nothing(tmp_path):
    alone = {"scores": [{"choice": "configured", "threshold": None, **SCORES}], "classes": {}}
    for overlap in (alone, {}):  # {}: of a run from before there were such scores
        report = Report(tmp_path, {})
        segmentation_tables.add_details(report, overlap)
        assert not report.blocks and segmentation_tables.texts(overlap) == []


def group(structure="left_lung", images=12, undefined=(0, 0, 0, 0), **fields):
    names = ("no_prediction", "no_reference", "neither", "no_outline")
    ends = {"low": 0.91, "high": 0.95}
    return {
        "group": "all",
        "name": "",
        "structure": structure,
        "images": images,
        "patients": 7,
        "dice": {"mean": 0.93, **ends, "worst_decile": 0.85},
        "jaccard": {"mean": 0.87, **ends},
        "hd95": {
            "images": images - sum(undefined),
            "mean": 5.1,
            "median": 4.0,
            "mean_percent": 2.0,
        },
        "hd95_undefined": dict(zip(names, undefined, strict=True)),
        **fields,
    }


WORST = {
    "id": "a",
    "patient": "p",
    "source": "ccx",
    "class": "covid19",
    "structure": "left_lung",
    "dice": 0.2,
    "jaccard": 0.1,
    "hd95": None,
}
ALONE = {"mean": 0.5, "low": None, "high": None}
IMAGES = {
    "per_image": {
        "file": "segmentation.csv",
        "side": 256,
        "groups": [
            group(undefined=(2, 0, 1, 0)),
            group(group="class", name="covid19", undefined=(2, 0, 1, 0)),
            group(group="source", name="ccx", dice={**ALONE, "worst_decile": 0.5}, jaccard=ALONE),
        ],
        "worst": [WORST],
    }
}


def test_single_images_have_a_line_for_each_group_and_structure():
    header, rows = segmentation_tables.image_rows(IMAGES)
    assert [row[:2] for row in rows] == [
        ["All images", "Left lung"],
        ["Class: COVID-19", "Left lung"],
        ["Source: ccx", "Left lung"],
    ]
    first = dict(zip(header, rows[0], strict=False))
    assert first["Dice"] == "0.9300" and first["Worst decile"] == "0.8500"
    assert rows[0][5] == "0.9100 to 0.9500" and rows[2][5] == "–"
    assert first["HD95, px"] == "5.10" and first["HD95, % of side"] == "2.00"
    assert first["undefined"] == "3"
    [text] = segmentation_tables.texts(IMAGES)
    assert len(text.splitlines()) == 5 and len(text.splitlines()[0]) <= 120


def test_images_without_hd95_are_named_with_the_reason(tmp_path):
    report = Report(tmp_path, {})
    segmentation_tables.add_details(report, IMAGES)
    text = "\n\n".join(report.blocks)
    assert (
        "Left lung: HD95 is undefined for 3 of 12 images (2 without a prediction of it; 1 without "
        "it in either mask)" in text
    )
    assert "pixels of the network's image (256 x 256" in text and "per cent of its side" in text
    _, [row] = segmentation_tables.worst_rows(IMAGES)
    assert row == ["a", "p", "ccx", "COVID-19", "Left lung", "0.2000", "0.1000", "–"]
    assert "### Images with the lowest Dice" in text and "`segmentation.csv`" in text
