import numpy as np
import pytest

from jaxcxr.data import subsample_patients
from jaxcxr.errors import InputError
from tests.data.fakes import encode, make_dataset


def grey(value: int) -> bytes:
    return encode(np.full((4, 6), value, np.uint8))


MASK = encode(np.array([[0, 127, 255], [0, 0, 255]], np.uint8))


def test_pixels_shape_and_mask_of_one_image():
    dataset = make_dataset([{"image": grey(3), "mask_lung": MASK}])
    np.testing.assert_array_equal(dataset.image(0), np.full((4, 6), 3))
    assert dataset.source_shape(0) == (4, 6)
    np.testing.assert_array_equal(dataset.mask(0, "lung"), [[0, 0, 1], [0, 0, 1]])
    assert dataset.mask_names == {"lung"}


def test_a_missing_structure_is_named_with_what_there_is():
    dataset = make_dataset([{"image": grey(3), "mask_lung": MASK}])
    with pytest.raises(InputError, match=r"no masks of heart .* it has: lung"):
        dataset.mask(0, "heart")


def test_an_unreadable_image_is_named():
    with pytest.raises(InputError, match="image x1 is unreadable"):
        make_dataset([{"image": grey(3)}, {"image": b"?"}]).image(1)


def test_take_keeps_order_and_pixels():
    dataset = make_dataset([{"image": grey(v)} for v in range(5)], labels=[0, 1, 0, 1, 0])
    part = dataset.take([3, 1]).take([1, 0])
    assert part.ids.tolist() == ["x1", "x3"]
    assert [part.image(i)[0, 0] for i in range(2)] == [1, 3]
    assert part.labels.tolist() == [1, 1]


def test_fingerprint_depends_on_ids_labels_classes_patients_and_pixels():
    def fingerprint(values, **changes):
        return make_dataset([{"image": grey(v)} for v in values], **changes).fingerprint

    base = fingerprint([1, 2])
    assert base == fingerprint([1, 2])
    others = {
        fingerprint([1, 3]),
        fingerprint([2, 1]),
        fingerprint([1, 2], labels=[0, 1]),
        fingerprint([1, 2], classes=("covid19", "normal")),
        fingerprint([1, 2], patients=["p", "p"]),
    }
    assert len(others) == 5 and base not in others


def test_limit_takes_whole_patients_of_every_class_and_is_nested():
    patients = [f"p{i // 2}" for i in range(40)]
    labels = [int(i // 2 % 5 == 0) for i in range(40)]
    dataset = make_dataset([{"image": grey(0)}] * 40, labels=labels, patients=patients)
    some, more = subsample_patients(dataset, 11, seed=3), subsample_patients(dataset, 21, seed=3)
    assert (len(some), len(more)) == (10, 20)
    assert set(some.ids) < set(more.ids)
    assert np.bincount(some.labels).tolist() == [8, 2]
    assert set(some.ids) != set(subsample_patients(dataset, 11, seed=4).ids)
    assert subsample_patients(dataset, 0, seed=3) is dataset


def test_a_limit_below_one_patient_is_refused():
    dataset = make_dataset([{"image": grey(0)}] * 4, patients=["p"] * 4)
    with pytest.raises(InputError, match="no room for the 4 images"):
        subsample_patients(dataset, 3, seed=0)
