"""A file's arrays fill a network: each is used, or named; all problems at once."""

import numpy as np
import pytest

from jaxcxr.errors import InputError
from jaxcxr.weights.merge import merge
from jaxcxr.weights.rules import ConvertedWeights


def renamed(**shapes: tuple[int, ...]) -> ConvertedWeights:
    names = {name.replace("__", "/"): shape for name, shape in shapes.items()}
    values = {
        name: np.full(shape, i + 1, np.float32) for i, (name, shape) in enumerate(names.items())
    }
    return ConvertedWeights(values, {name: f"their.{name}" for name in names}, {})


def network(channels: int = 3, classes: int = 4) -> dict:
    return {
        "params": {
            "conv1": {"kernel": np.zeros((3, 3, channels, 8), np.float32)},
            "bn1": {"scale": np.zeros(8, np.float32)},
            "fc": {
                "kernel": np.zeros((8, classes), np.float32),
                "bias": np.zeros(classes, np.float32),
            },
        },
        "batch_stats": {"bn1": {"mean": np.zeros(8, np.float32)}},
    }


WHOLE = dict(
    conv1__kernel=(3, 3, 3, 8), bn1__scale=(8,), bn1__mean=(8,), fc__kernel=(8, 4), fc__bias=(4,)
)


def test_every_array_finds_its_place_in_either_collection():
    merged = merge(renamed(**WHOLE), network())
    assert merged.variables["params"]["bn1"]["scale"][0] == 2
    assert merged.variables["batch_stats"]["bn1"]["mean"][0] == 3
    assert (merged.newly_initialized, merged.unused) == ([], {})


def test_a_new_head_stays_as_it_is_whatever_the_file_has():
    given = renamed(**{**WHOLE, "fc__kernel": (8, 1000), "fc__bias": (1000,)})
    merged = merge(given, network(), new_head=("fc",))
    assert not merged.variables["params"]["fc"]["kernel"].any()
    assert merged.newly_initialized == ["fc/bias", "fc/kernel"]
    assert sorted(merged.unused) == ["their.fc/bias", "their.fc/kernel"]


def test_grey_input_gets_the_sum_over_the_channels():
    merged = merge(renamed(**WHOLE), network(channels=1), first_conv="conv1")
    np.testing.assert_array_equal(
        merged.variables["params"]["conv1"]["kernel"], np.full((3, 3, 1, 8), 3)
    )


def test_weights_of_grey_images_are_spread_over_the_channels():
    given = renamed(**{**WHOLE, "conv1__kernel": (3, 3, 1, 8)})
    kernel = merge(given, network(), first_conv="conv1").variables["params"]["conv1"]["kernel"]
    np.testing.assert_allclose(kernel.sum(axis=2), 1, rtol=1e-6)
    assert kernel.shape == (3, 3, 3, 8)


def test_channels_are_changed_at_the_first_convolution_only():
    with pytest.raises(InputError, match=r"conv1/kernel is \[3, 3, 1, 8\]"):
        merge(renamed(**WHOLE), network(channels=1))


def test_all_problems_are_named_at_once():
    given = renamed(
        conv1__kernel=(3, 3, 3, 9),
        extra__kernel=(2, 2),
        bn1__scale=(8,),
        fc__kernel=(8, 4),
        fc__bias=(4,),
    )
    with pytest.raises(InputError) as caught:
        merge(given, network())
    assert str(caught.value).splitlines() == [
        "1 arrays of the file have no place in the network:",
        "  their.extra/kernel [2, 2]",
        "1 arrays of the network are not in the file:",
        "  bn1/mean",
        "1 arrays have another shape:",
        "  their.conv1/kernel: here it would be [3, 3, 3, 9], conv1/kernel is [3, 3, 3, 8]",
    ]


def test_a_part_that_the_file_may_lack_stays_as_it_is():
    given = renamed(**{name: shape for name, shape in WHOLE.items() if not name.startswith("bn1")})
    assert merge(given, network(), allow_missing=("bn1",)).newly_initialized == [
        "bn1/mean",
        "bn1/scale",
    ]


def test_long_lists_are_cut():
    given = renamed(**WHOLE, **{f"x{i:02d}": (1,) for i in range(20)})
    with pytest.raises(
        InputError, match=r"20 arrays of the file have no place(.*\n)+  \.\.\. and 8 more"
    ):
        merge(given, network())
