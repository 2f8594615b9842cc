import collections
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from tests.tfds_builders import builds
from tfds_builders.phantom_cxr import drawing
from tfds_builders.phantom_cxr.phantom_cxr_dataset_builder import Builder

SIZE = 96
PATIENTS = range(24)


def draw(patient=0, image=0, *, seed=0, size=SIZE, **options):
    return drawing.draw(seed=seed, patient=patient, image=image, size=size, **options)


def test_the_same_numbers_draw_the_same_picture_and_others_another():
    first, again = draw(3, 1), draw(3, 1)
    np.testing.assert_array_equal(first.image, again.image)
    assert first.marker == again.marker and first.view == again.view
    for other in (draw(3, 0), draw(2, 1), draw(3, 1, seed=1)):
        assert np.abs(first.image.astype(int) - other.image).mean() > 5


def test_pixels_are_grey_bytes_that_use_the_range_on_a_black_background():
    phantom = draw()
    assert phantom.image.dtype == np.uint8 and phantom.image.shape == (SIZE, SIZE)
    assert phantom.image.max() > 200
    assert (phantom.image == 0).mean() > 0.05
    assert len(np.unique(phantom.image)) > 100


@pytest.mark.parametrize("seed", [0, 7])
def test_every_four_patients_hold_each_class_once(seed):
    labels = [drawing.patient_label(seed, patient) for patient in range(40)]
    for block in range(0, 40, 4):
        assert sorted(labels[block : block + 4]) == sorted(drawing.CLASSES)
    assert len({tuple(labels[block : block + 4]) for block in range(0, 40, 4)}) > 3


def test_a_patient_has_one_to_three_images():
    counts = [drawing.image_count(0, patient) for patient in range(100)]
    assert set(counts) == {1, 2, 3}


def test_masks_of_every_class_are_whole_apart_and_inside_the_body():
    for patient in PATIENTS:
        phantom = draw(patient)
        masks = phantom.masks
        area = {name: mask.mean() for name, mask in masks.items()}
        assert 0.06 < area["right_lung"] < 0.25 and 0.06 < area["left_lung"] < 0.25
        assert 0.03 < area["heart"] < 0.15
        assert not (masks["left_lung"] & masks["right_lung"]).any()
        assert not (masks["lung"] & masks["heart"]).any()
        np.testing.assert_array_equal(masks["lung"], masks["left_lung"] | masks["right_lung"])
        for name in ("left_lung", "right_lung", "heart"):
            assert ndimage.label(masks[name], np.ones((3, 3)))[1] == 1, name
            assert masks[name][[0, -1]].sum() + masks[name][:, [0, -1]].sum() == 0, name
            # No black background in them, nor next to them.
            assert ndimage.minimum_filter(phantom.image, 5)[masks["heart"]].min() > 0
        columns = np.arange(SIZE)
        middle = {name: (mask * columns).sum() / mask.sum() for name, mask in masks.items()}
        assert middle["right_lung"] < middle["heart"] < middle["left_lung"]


@pytest.mark.parametrize("size", [64, 200])
def test_the_class_changes_nothing_outside_the_lungs(size):
    for patient in range(6):
        normal = draw(patient, size=size, label="normal")
        for label in drawing.CLASSES[1:]:
            other = draw(patient, size=size, label=label)
            for name, mask in normal.masks.items():
                np.testing.assert_array_equal(mask, other.masks[name])
            lungs = normal.masks["lung"]
            np.testing.assert_array_equal(normal.image[~lungs], other.image[~lungs])
            difference = np.abs(normal.image.astype(int) - other.image)[lungs]
            assert (difference > 8).mean() > 0.15, (patient, label)
            assert (normal.view, normal.marker) == (other.view, other.marker)


def test_consolidation_fills_about_half_of_one_lung_only():
    for patient in range(12):
        normal, filled = (draw(patient, label=label) for label in ("normal", "consolidation"))
        brighter = filled.image.astype(int) - normal.image > 12
        share = sorted(brighter[normal.masks[f"{side}_lung"]].mean() for side in ("left", "right"))
        assert share[0] == 0
        assert 0.3 < share[1] < 0.65


def test_ground_glass_is_peripheral_and_in_both_lungs():
    outer, inner = [], []
    for patient in PATIENTS:
        normal, hazy = (draw(patient, label=label) for label in ("normal", "ground_glass"))
        haze = hazy.image.astype(int) - normal.image
        for name in ("left_lung", "right_lung"):
            lung = normal.masks[name]
            assert (haze[lung] > 8).mean() > 0.3
            # Place between the two borders of the lung, row by row: 0 medial, 1 lateral.
            place = lung.cumsum(axis=1) / np.maximum(lung.sum(axis=1, keepdims=True), 1)
            place = 1 - place if name == "right_lung" else place
            outer.append(haze[lung & (place > 0.5)].mean())
            inner.append(haze[lung & (place < 0.5)].mean())
    assert np.mean(outer) > 1.8 * np.mean(inner)


def test_interstitial_is_fine_and_everywhere():
    for patient in range(12):
        normal, net = (draw(patient, label=label) for label in ("normal", "interstitial"))
        change = np.abs(net.image.astype(int) - normal.image) > 6
        lungs = normal.masks["lung"]
        deep = ndimage.binary_erosion(lungs, iterations=3)
        nearby = ndimage.maximum_filter(change, 9)  # changed within 4 pixels
        assert nearby[deep].mean() > 0.97
        # About as bright as normal on average: it is a texture.
        assert abs(net.image[lungs].mean() - normal.image[lungs].mean()) < 15


def test_brightness_of_the_lungs_does_not_give_the_class_away():
    phantoms = [draw(patient, size=32) for patient in range(80)]
    labels = np.array([drawing.CLASSES.index(phantom.label) for phantom in phantoms])
    brightness = np.array([p.image[p.masks["lung"]].mean() for p in phantoms])
    means = np.array([brightness[labels == k].mean() for k in range(4)])
    nearest = np.abs(brightness[:, None] - means).argmin(axis=1)
    assert (nearest == labels).mean() < 0.6


def test_a_full_confounder_ties_one_marker_to_each_class():
    found = collections.defaultdict(set)
    for patient in PATIENTS:
        marker = drawing.marker_of(seed=0, patient=patient, image=0, confounder=1.0)
        found[drawing.patient_label(0, patient)].add(marker)
        assert draw(patient, size=32, confounder=1.0).marker == marker
    assert found == {label: {marker} for label, marker in drawing.CLASS_MARKERS.items()}
    letters, corners = zip(*drawing.CLASS_MARKERS.values(), strict=True)
    assert len(set(letters)) == len(set(corners)) == 4


def test_without_a_confounder_the_marker_is_independent_of_the_class():
    counts = np.zeros((2, 4, 4))
    for patient in range(400):
        letter, corner = drawing.marker_of(seed=0, patient=patient, image=0, confounder=0.0)
        row = drawing.CLASSES.index(drawing.patient_label(0, patient))
        counts[0, row, drawing.LETTERS.index(letter)] += 1
        counts[1, row, drawing.CORNERS.index(corner)] += 1
    expected = counts.sum(axis=2, keepdims=True) * counts.sum(axis=1, keepdims=True) / 400
    chi_square = ((counts - expected) ** 2 / expected).sum(axis=(1, 2))
    assert (chi_square < 21.67).all()  # 9 degrees of freedom, p = 0.01


def test_a_partial_confounder_ties_that_share():
    tied = [
        drawing.marker_of(seed=0, patient=patient, image=0, confounder=0.5)
        == drawing.CLASS_MARKERS[drawing.patient_label(0, patient)]
        for patient in range(1000)
    ]
    assert 0.48 < np.mean(tied) < 0.58  # 0.5 and 1/16 of the rest


def test_the_marker_is_seen_in_its_corner():
    for patient in PATIENTS:
        phantom = draw(patient)
        vertical, horizontal = phantom.marker[1].split("-")
        rows = slice(0, 13) if vertical == "top" else slice(-13, None)
        columns = slice(0, 13) if horizontal == "left" else slice(-13, None)
        assert phantom.image[rows, columns].max() > 170
        assert not phantom.masks["lung"][rows, columns].any()


@pytest.mark.parametrize("label", drawing.CLASSES)
def test_pictures_of_any_size_show_the_same(label):
    large, small = (draw(1, size=size, label=label) for size in (384, 128))
    reduced = Image.fromarray(large.image).resize((128, 128), Image.Resampling.BOX)
    difference = np.abs(np.asarray(reduced, int) - small.image)
    assert difference.mean() < 3
    for name, mask in small.masks.items():
        other = large.masks[name].reshape(128, 3, 128, 3).mean(axis=(1, 3)) > 0.5
        assert (mask & other).sum() / (mask | other).sum() > 0.97, name


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="size=16 is too small"):
        draw(size=16)
    with pytest.raises(ValueError, match=r"confounder=1.5 must lie in \[0, 1\]"):
        draw(confounder=1.5)
    with pytest.raises(ValueError, match="unknown label 'covid19'; known: normal, consolidation"):
        draw(label="covid19")


def test_the_config_name_spells_the_options():
    assert Builder.configure().name == "s256_p120_seed0_c0.00"
    config = Builder.configure(size=64, patients=8, seed=3, confounder=0.25)
    assert config.name == "s64_p8_seed3_c0.25"
    with pytest.raises(TypeError, match="'sizes'; known options: size, patients, seed, confounder"):
        Builder.configure(sizes=64)
    for wrong in ({"size": 8}, {"patients": 0}, {"seed": -1}, {"size": 64.5}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Builder.configure(**wrong)
    for wrong in (1.01, -0.5, 0.123):
        with pytest.raises(ValueError, match="confounder"):
            Builder.configure(confounder=wrong)


def test_built_examples_are_the_drawn_ones(tmp_path):
    builder = builds.prepare(Builder, tmp_path, None, size=32, patients=8, confounder=1.0)
    examples = builds.read(builder)
    expected = {
        f"phantom-p{patient:04d}-{image}": draw(patient, image, size=32, confounder=1.0)
        for patient in range(8)
        for image in range(drawing.image_count(0, patient))
    }
    assert examples.keys() == expected.keys()
    assert builder.info.metadata["kept"] == len(expected)
    for key, phantom in expected.items():
        example = examples[key]
        np.testing.assert_array_equal(builds.pixels(example["image"]), phantom.image)
        for name in ("lung", "left_lung", "right_lung", "heart"):
            mask = builds.pixels(example[f"mask_{name}"])
            np.testing.assert_array_equal(mask, 255 * phantom.masks[name].astype(np.uint8))
        assert example["patient_id"] == example["strict_patient_id"] == key.rpartition("-")[0]
        assert example["label"] == example["finding"] == phantom.label
        assert (example["source"], example["age_group"]) == ("phantom", "adult")
        assert example["view"] == phantom.view
    assert {example["view"] for example in examples.values()} == {"PA", "AP"}


def test_builds_and_reads_without_tensorflow(tmp_path):
    program = f"""
import sys
import tensorflow_datasets as tfds
from tfds_builders.phantom_cxr.phantom_cxr_dataset_builder import Builder
config = Builder.configure(size=32, patients=4)
builder = Builder(config=config, data_dir={str(tmp_path)!r}, file_format="array_record")
builder.download_and_prepare()
keep = {{"image": tfds.decode.SkipDecoding()}}
source = builder.as_data_source("main", decoders=keep)
print(len(source), source[0]["mask_lung"].shape, "tensorflow" in sys.modules)
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        check=False,  # the assertion shows what it printed
        cwd=builds.ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    count = sum(drawing.image_count(0, patient) for patient in range(4))
    assert run.stdout.splitlines()[-1] == f"{count} (32, 32, 1) False"


def test_the_contact_sheet_has_a_row_for_each_class():
    sheet = drawing.contact_sheet(size=48, columns=2)
    assert sheet.size == (3 * 48, 4 * 48)


def test_patients_of_another_seed_have_other_names(tmp_path):
    examples = builds.read(builds.prepare(Builder, tmp_path, None, size=32, patients=2, seed=7))
    assert {example["patient_id"] for example in examples.values()} == {
        "phantom-s7-p0000",
        "phantom-s7-p0001",
    }
    assert all(key.startswith(f"{example['patient_id']}-") for key, example in examples.items())
