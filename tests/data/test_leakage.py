"""Who is in two data sets."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from jaxcxr.data import leakage, open_dataset
from tests.data.fakes import data_config, encode, make_dataset


def images(*values):
    return [{"image": encode(np.full((8, 8), value, np.uint8))} for value in values]


def named(dataset, *ids, sources=None):
    changes = {"sources": np.array(sources)} if sources else {}
    return dataclasses.replace(dataset, ids=np.array(ids), **changes)


def found(external, patients, own, own_patients, *, sources=False, copies=()):
    rows = leakage.find_leakage(
        external,
        np.array(patients),
        own,
        np.array(own_patients),
        copies=np.isin(np.arange(len(external)), copies),
        sources=sources,
    )
    return {reason: index.tolist() for reason, index in rows.items() if len(index)}


def test_ids_files_and_patients_give_a_patient_away_with_all_images():
    own = named(make_dataset(images(1, 2, 3)), "a", "b", "c")
    external = named(make_dataset(images(11, 2, 13, 14, 15, 16)), "a", "x", "y", "z", "v", "w")
    patients = [
        ["p1", "s1"],
        ["p2", "s2"],
        ["p3", "b-strict"],
        ["p1", "s9"],
        ["p7", "s7"],
        ["p8", "s9"],
    ]
    assert found(external, patients, own, [["a", "a"], ["b", "b-strict"], ["c", "c"]]) == {
        leakage.SAME_ID: [0],
        leakage.SAME_FILE: [1],
        leakage.SAME_PATIENT: [2],
        leakage.OF_SUCH_PATIENTS: [3, 5],  # of p1; w shares the strict name of z
    }


def test_a_copy_gives_the_other_images_of_its_patient_away():
    own = named(make_dataset(images(1, 2)), "a", "b")
    external = named(make_dataset(images(3, 4, 5)), "x", "y", "z")
    patients = [["p1", "unknown"], ["p2", "unknown"], ["p1", "unknown"]]
    assert found(external, patients, own, [["a", "a"], ["b", "b"]], copies=[0]) == {
        leakage.SAME_XRAY: [0],
        leakage.OF_SUCH_PATIENTS: [2],
    }


def test_an_x_ray_in_another_form_is_found_in_the_own_data(tmp_path):
    draws = np.random.default_rng(1)
    pictures = [cv2.GaussianBlur(draws.normal(size=(96, 96)), (0, 0), 3) for _ in range(6)]
    grey = [np.uint8(np.clip(128 + 200 * picture, 0, 255)) for picture in pictures]
    dark = cv2.resize(np.uint8(255 * (grey[4] / 255) ** 1.5), (64, 64))
    own = make_dataset([{"image": encode(picture)} for picture in grey[:5]])
    external = make_dataset([{"image": encode(picture)} for picture in (grey[5], dark)])
    section = data_config(tmp_path)
    assert leakage.copied(external, section, own, section).tolist() == [False, True]


def test_strangers_are_kept_and_a_shared_source_counts_where_asked():
    own = named(make_dataset(images(1, 2)), "a", "b", sources=["ccx", "kcx"])
    external = named(make_dataset(images(3, 4)), "x", "y", sources=["kcx", "hannover"])
    patients = [["x", "x"], ["y", "y"]]
    assert found(external, patients, own, [["a", "a"], ["b", "b"]]) == {}
    assert found(external, patients, own, [["a", "a"], ["b", "b"]], sources=True) == {
        leakage.SAME_SOURCE: [0]
    }


def test_patients_have_a_name_by_every_key_of_the_builders(tmp_path):
    section = data_config(tmp_path, limit=6)
    dataset = open_dataset(section)
    names = leakage.patient_names(dataset, section)
    assert names.shape == (len(dataset), 2)
    assert names[:, 0].tolist() == dataset.patient_ids.tolist()
    strict = open_dataset(data_config(tmp_path, patient_key="strict_patient_id"))
    known = dict(zip(strict.ids, strict.patient_ids, strict=True))
    assert names[:, 1].tolist() == [known[name] for name in dataset.ids]
    assert (names[:, 0] != names[:, 1]).any()
