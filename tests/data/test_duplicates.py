"""Copies of X-rays are found whatever was done to them, and two patients are no copies."""

import collections
import csv

import cv2
import numpy as np
import pytest

from jaxcxr.data import duplicates, image_facts, open_dataset
from tests import tiny


def phantoms(**options):
    section = tiny.load("patched_densenet").data
    section.options.phantom_cxr.update(options)
    return section


@pytest.fixture(scope="module")
def xrays():
    """[60] phantoms [192, 192] of as many patients."""
    dataset = open_dataset(phantoms(patients=60, size=192))
    _, first = np.unique(dataset.patient_ids, return_index=True)
    return [dataset.image(row) for row in first]


def thumbnails(images):
    return np.stack([duplicates.thumbnail(image) for image in images])


def cut(image):
    h, w = image.shape
    return image[: h - round(0.05 * h), round(0.05 * w) :]


def gamma(image, value):
    return np.round(255 * (image / 255) ** value).astype(np.uint8)


def turned(image, degrees):
    h, w = image.shape
    affine = cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 1)
    return cv2.warpAffine(image, affine, (w, h))


def jpeg(image):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], 0)


COPIES = {
    "smaller, another aspect ratio": lambda x: cv2.resize(
        x, (96, 140), interpolation=cv2.INTER_AREA
    ),
    "JPEG, quality 30": jpeg,
    "a border of 5 % cut off": cut,
    "gamma 0.6": lambda x: gamma(x, 0.6),
    "gamma 1.6": lambda x: gamma(x, 1.6),
    "turned by 2 degrees": lambda x: turned(x, 2),
    "turned by -2 degrees": lambda x: turned(x, -2),
    "negative": lambda x: 255 - x,
    "equalised": cv2.equalizeHist,
    "16 bits": lambda x: x.astype(np.uint16) * 201 + 7,
    "mirrored": lambda x: x[:, ::-1],
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_found_and_nothing_else(xrays, name):
    copies = [np.ascontiguousarray(COPIES[name](image)) for image in xrays]
    pairs = duplicates.find(thumbnails([*xrays, *copies]))
    n = len(xrays)
    assert {(p.first, p.second) for p in pairs} == {(row, row + n) for row in range(n)}
    assert {p.inverted for p in pairs} == {name == "negative"}
    assert {p.mirrored for p in pairs} == {name == "mirrored"}


def test_x_rays_of_different_patients_are_no_copies(xrays):
    assert duplicates.find(thumbnails(xrays)) == []


@pytest.mark.parametrize("number", [0, 1])
def test_one_image_has_no_copy(xrays, number):
    assert duplicates.find(thumbnails(xrays[:1])[:number]) == []


def test_blank_images_are_no_copies_of_x_rays(xrays):
    blank = [np.zeros((64, 64), np.uint8), np.full((80, 50), 200, np.uint8)]
    rows = {p.second for p in duplicates.find(thumbnails([*xrays[:20], *blank]))}
    assert not rows & set(range(20))


def test_the_known_doubles_of_a_real_collection_are_found_and_no_others(real_data):
    """Patients of CCX of whom one X-ray stands under two numbers, by metadata.csv."""
    with open(real_data / "ccx" / "metadata.csv", newline="", encoding="utf-8") as table:
        patient_of = {row["filename"]: row["patientid"] for row in csv.DictReader(table)}
    files = sorted(path for path in (real_data / "ccx/images").iterdir() if path.name in patient_of)
    images = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in files]
    patients = [patient_of[path.name] for path in files]
    pairs = [(patients[p.first], patients[p.second]) for p in duplicates.find(thumbnails(images))]
    assert collections.Counter(tuple(sorted(pair)) for pair in pairs if pair[0] != pair[1]) == {
        ("178", "97"): 4,
        ("201", "78"): 1,
        ("137", "202"): 1,
        ("192", "196"): 2,
        ("193", "195"): 1,
    }


def test_clusters_follow_chains_of_pairs():
    pairs = [duplicates.Pair(a, b, 1.0, False, False) for a, b in ((1, 4), (4, 6), (2, 3))]
    assert duplicates.clusters(pairs, 8).tolist() == [0, 1, 2, 2, 1, 5, 1, 7]
    assert duplicates.clusters([], 3).tolist() == [0, 1, 2]


def test_the_facts_of_a_data_set_are_kept(tmp_path, monkeypatch):
    config = phantoms(patients=8, size=64)
    config.data_dir = str(tmp_path)
    dataset = open_dataset(config)
    facts = image_facts.look(dataset, config)
    assert len(facts) == len(dataset)
    assert set(facts.height) == set(facts.width) == {64} and set(facts.bits) == {8}
    assert set(facts.encoding) == {"PNG"}
    np.testing.assert_allclose(facts.histogram.sum(axis=1), 1, rtol=1e-5)
    monkeypatch.setattr(duplicates, "find", None)  # is not called again
    again = image_facts.look(dataset, config)
    np.testing.assert_array_equal(again.sharpness, facts.sharpness)
    assert again.pairs == facts.pairs


def test_sharpness_falls_with_blur_and_not_with_contrast():
    image = np.random.default_rng(0).integers(0, 255, (512, 512)).astype(np.uint8)
    sharp = image_facts.sharpness(image)
    assert image_facts.sharpness(cv2.GaussianBlur(image, (0, 0), 2)) < sharp - 1
    assert image_facts.sharpness(image.astype(np.uint16) * 3) == pytest.approx(sharp, abs=1e-3)
