import itertools
from collections import Counter

import numpy as np
import pytest

from jaxcxr.data import eval_batches, train_iterator
from jaxcxr.errors import InputError

LABELS = np.array([0] * 24 + [1] * 4 + [2] * 2, np.int32)
ARRAYS = {"image": np.arange(30 * 4, dtype=np.uint8).reshape(30, 2, 2), "label": LABELS}
EVEN = np.arange(0, 30, 2)


def take(iterator, count):
    return list(itertools.islice(iterator, count))


def indices(batches):
    return np.concatenate([batch["index"] for batch in batches])


def test_a_batch_holds_the_rows_it_names():
    batch = next(train_iterator(ARRAYS, EVEN, batch_size=4, seed=0))
    assert {name: (a.shape, a.dtype.name) for name, a in batch.items()} == {
        "image": ((4, 2, 2), "uint8"),
        "label": ((4,), "int32"),
        "index": ((4,), "int32"),
        "weight": ((4,), "float32"),
    }
    np.testing.assert_array_equal(batch["image"], ARRAYS["image"][batch["index"]])
    np.testing.assert_array_equal(batch["label"], LABELS[batch["index"]])
    assert batch["weight"].tolist() == [1, 1, 1, 1]


def test_an_epoch_sees_every_row_once_in_a_new_order():
    batches = take(train_iterator(ARRAYS, EVEN, batch_size=5, seed=0), 6)
    first, second = indices(batches[:3]), indices(batches[3:])
    assert sorted(first) == sorted(second) == EVEN.tolist()
    assert first.tolist() != second.tolist()


def test_the_same_seed_gives_the_same_batches():
    first, same, other = (
        indices(take(train_iterator(ARRAYS, EVEN, batch_size=4, seed=seed), 8))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, same)
    assert first.tolist() != other.tolist()


def test_fewer_rows_than_the_batch_size_are_repeated():
    batches = take(train_iterator(ARRAYS, [3, 7, 9], batch_size=8, seed=0), 3)
    assert all(len(batch["index"]) == 8 for batch in batches)
    assert Counter(indices(batches).tolist()) == {3: 8, 7: 8, 9: 8}


@pytest.mark.parametrize("balance", ["none", "class"])
def test_two_processes_together_see_the_batches_of_one(balance):
    def batches(**process):
        iterator = train_iterator(
            ARRAYS, EVEN, batch_size=6, seed=3, balance=balance, labels=LABELS, **process
        )
        return take(iterator, 7)

    whole = batches()
    parts = [batches(process_index=p, process_count=2) for p in range(2)]
    for batch, *halves in zip(whole, *parts, strict=True):
        for name in batch:
            joined = np.concatenate([half[name] for half in halves])
            np.testing.assert_array_equal(joined, batch[name])


def test_balanced_draws_are_uniform_over_classes_and_within_them():
    rows = np.arange(30)
    iterator = train_iterator(ARRAYS, rows, batch_size=30, seed=0, balance="class", labels=LABELS)
    drawn = indices(take(iterator, 200))
    assert np.bincount(LABELS[drawn]) / len(drawn) == pytest.approx([1 / 3] * 3, abs=0.02)
    assert np.bincount(drawn)[24:28] / len(drawn) == pytest.approx([1 / 12] * 4, abs=0.02)


def test_balanced_draws_stay_within_the_given_rows():
    iterator = train_iterator(
        ARRAYS, [1, 25, 27], batch_size=8, seed=0, balance="class", labels=LABELS
    )
    assert set(indices(take(iterator, 10))) == {1, 25, 27}


@pytest.mark.parametrize("balance", ["none", "class"])
def test_the_iterator_resumes_exactly_where_its_state_was_taken(balance):
    def iterator():
        return train_iterator(ARRAYS, EVEN, batch_size=4, seed=5, balance=balance, labels=LABELS)

    running = iterator()
    take(running, 5)
    state = running.get_state()
    expected = indices(take(running, 6))
    resumed = iterator()
    resumed.set_state(state)
    np.testing.assert_array_equal(indices(take(resumed, 6)), expected)


def test_memory_maps_are_read_as_plain_arrays(tmp_path):
    mapped = np.memmap(tmp_path / "a.u8", np.uint8, "w+", shape=(30, 2, 2))
    mapped[:] = ARRAYS["image"]
    batch = next(train_iterator({"image": mapped}, EVEN, batch_size=4, seed=0))
    assert type(batch["image"]) is np.ndarray


def test_evaluation_reads_every_row_once_in_order_and_again():
    batches = eval_batches(ARRAYS, EVEN, batch_size=4)
    assert len(batches) == 4
    for _ in range(2):
        rows = [b["index"][b["weight"] > 0] for b in batches]
        np.testing.assert_array_equal(np.concatenate(rows), EVEN)


def test_the_last_batch_is_padded_with_weight_0():
    *_, last = eval_batches(ARRAYS, EVEN, batch_size=4)
    assert last["weight"].tolist() == [1, 1, 1, 0]
    assert last["index"].tolist() == [24, 26, 28, 28]
    assert last["image"].shape == (4, 2, 2)


def test_processes_share_evaluation_batches():
    whole = list(eval_batches(ARRAYS, EVEN, batch_size=4))
    parts = [
        list(eval_batches(ARRAYS, EVEN, batch_size=4, process_index=p, process_count=4))
        for p in range(4)
    ]
    for batch, *quarters in zip(whole, *parts, strict=True):
        for name in batch:
            joined = np.concatenate([quarter[name] for quarter in quarters])
            np.testing.assert_array_equal(joined, batch[name])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"indices": []}, "split is empty"),
        ({"indices": [30]}, "reach outside"),
        ({"batch_size": 3, "process_count": 2}, "multiple of the 2 processes"),
        ({"batch_size": 0}, "must be positive"),
        ({"balance": "patient"}, "'patient': choose none or class"),
        ({"balance": "class"}, "needs the labels"),
        ({"arrays": {"image": np.zeros(3), "label": np.zeros(4)}}, "one length"),
    ],
)
def test_requests_without_sense_are_refused(change, message):
    arguments = {"arrays": ARRAYS, "indices": EVEN, "batch_size": 4, "seed": 0, **change}
    with pytest.raises(InputError, match=message):
        train_iterator(**arguments)
