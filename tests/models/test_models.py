"""One row a model: published parameter counts, output shapes, a gradient in every parameter."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcxr import models
from jaxcxr.errors import InputError
from tests.models.variables import normal, quick_jit, random_variables, shapes


@dataclasses.dataclass(frozen=True)
class Row:
    """`counts`: channels -> classes -> parameters. `odd`: an input [H, W] that nothing divides."""

    counts: dict[int, dict[int, int]]
    stages: tuple[str, ...] = ("stage1", "stage2", "stage3", "stage4", "features")
    odd: tuple[int, int] = (37, 45)


SEGMENTERS = ("fc_densenet103", "lite_unet", "unet_cxnet", "unet")
UNET_STAGES = ("stage1", "stage2", "stage3", "stage4", "bottleneck", "features")
VGG_STAGES = ("stage1", "stage2", "stage3", "stage4", "stage5", "features")
IMAGE_ROWS = {
    # torchvision 0.28's `num_params`, and those less the head for 4 (CheXNet: 14) classes.
    "densenet161": Row({3: {1000: 28_681_000, 4: 26_480_836}}),
    # 4 classes in the auxiliary head, too.
    "inception_v3": Row(
        {3: {1000: 27_161_264, 4: 24_354_536}}, ("stage1", "stage2", "stage3", "features")
    ),
    "resnet152": Row({3: {1000: 60_192_808, 4: 58_152_004}}),
    "resnext101_32x8d": Row({3: {1000: 88_791_336, 4: 86_750_532}}),
    "vgg19_bn": Row({3: {1000: 143_678_248, 4: 139_597_636}}, VGG_STAGES),
    "densenet121": Row({3: {1000: 7_978_856, 14: 6_968_206}}),
    "resnet18": Row({3: {1000: 11_689_512, 4: 11_178_564}}, odd=(9, 5)),
    "resnet50": Row({3: {1000: 25_557_032}}, odd=(9, 5)),
    "vgg16": Row({3: {1000: 138_357_544}}, VGG_STAGES),
    "efficientnet_b4": Row(
        {3: {1000: 19_341_616, 4: 17_555_788}},
        (*(f"stage{i}" for i in range(1, 8)), "features"),
        odd=(9, 5),
    ),
    # The number of values in the packages' own files.
    **{
        name: Row(
            {3: {1000: count, 4: count - 996 * 1281}},
            (*(f"stage{i}" for i in range(1, 8)), "features"),
            odd=(9, 5),
        )
        for name, count in {
            "efficientnet_lite0": 4_652_008,
            "efficientnet_lite1": 5_416_680,
            "efficientnet_lite2": 6_092_072,
        }.items()
    },
    # Lite0 without its classifier, 1280 x 128 + 128, and 128 x classes + classes.
    "qatar_lite": Row(
        {3: {3: 4_652_008 - 1_281_000 + 163_968 + 387}},
        (*(f"stage{i}" for i in range(1, 8)), "features"),
        odd=(9, 5),
    ),
    # vgg16 without its classifier, 512 x 128 + 128, and 128 x classes + classes.
    "qatar_vgg16": Row({3: {3: 14_714_688 + 65_664 + 387}}, VGG_STAGES),
    # This project's count, the inner widths being its own; test_covid_net.py has the published ones
    # beside it.
    "covid_net": Row({3: {3: 11_960_963}}),
    "covid_net_large": Row({3: {3: 39_953_027}}),
    # One logit or three. densenet121 without its head, 1024 x 10 + 10, and 10 x classes + classes.
    "covid_cxnet": Row({3: {1: 6_953_856 + 10_250 + 11, 3: 6_953_856 + 10_250 + 33}}),
    "covid_cxnet_resnet50": Row({3: {1: 23_508_032 + 20_490 + 11}}, odd=(9, 5)),
    # COVID-CXNet's and zhixuhao/unet's published sizes.
    "unet_cxnet": Row({1: {1: 7_759_521}}, UNET_STAGES),
    "unet": Row({1: {1: 31_031_685}}, UNET_STAGES),
    # This project's own; test_lite_unet.py has its encoder beside EfficientNet-Lite0's, and two
    # outputs, each with a decoder.
    "lite_unet": Row({3: {1: 785_009}}, (*(f"stage{i}" for i in range(1, 6)), "features")),
    # bfortuner/pytorch_tiramisu: lungs and heart on X-rays, and CamVid.
    "fc_densenet103": Row(
        {1: {4: 9_319_428}, 3: {12: 9_322_348}},
        ("stage1", "stage2", "stage3", "stage4", "stage5", "bottleneck", "features"),
    ),
}
# One takes probabilities [B, L, C] and no image, three have parameters for one size of image: see
# their own files.
OTHER = {"neural_weight_module", "covid_cxnet_base", "qatar_cnn", "v7_diagnosis"}


def shrunk(name: str, **options: Any) -> Any:
    """`name` with one layer a block and an eighth of the channels, for grey images."""
    return models.build(
        name, **{"num_classes": 3, "in_channels": 1, "width": 0.125, "depth": 0.01, **options}
    )


def leaf_sizes(params: Any) -> dict[str, float]:
    """Path -> largest absolute value."""
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    return {path: float(np.abs(leaf).max()) for path, leaf in flat.items()}


def test_no_model_is_missing_from_the_table():
    assert set(models.MODELS) == set(IMAGE_ROWS) | OTHER


@pytest.mark.parametrize(
    ("name", "channels"), [(name, c) for name, row in IMAGE_ROWS.items() for c in row.counts]
)
def test_parameter_count_is_the_published_one(name, channels):
    counts = IMAGE_ROWS[name].counts[channels]
    traced = next(iter(counts))
    model = models.build(name, num_classes=traced, in_channels=channels)
    variables = shapes(model, 1, 64, 64, channels)[2]
    leaves = jax.tree.leaves(variables["params"])
    assert all(leaf.dtype == jnp.float32 for leaf in leaves)
    total = sum(leaf.size for leaf in leaves)
    # Only a head's leaves end in the number of classes: one trace gives every count.
    for_a_class = sum(leaf.size // traced for leaf in leaves if leaf.shape[-1] == traced)
    assert {n: total + (n - traced) * for_a_class for n in counts} == counts


@pytest.mark.parametrize("name", IMAGE_ROWS)
def test_output_shapes_for_small_and_odd_inputs(name):
    row = IMAGE_ROWS[name]
    for height, width, channels in [(32, 32, 1), (64, 64, 3), (*row.odd, 1)]:
        logits, out, _ = shapes(shrunk(name, in_channels=channels), 2, height, width, channels)
        expected = (2, height, width, 3) if name in SEGMENTERS else (2, 3)
        assert logits.shape == expected and logits.dtype == jnp.float32
        out.pop("pooled", None)  # test_pooled.py
        assert set(out) == set(row.stages)
        assert all(feature_map.ndim == 4 and feature_map.size for feature_map in out.values())


# Shrunk to one layer a block, the other networks are these, too.
@pytest.mark.parametrize(
    "name",
    [
        "densenet121", "inception_v3", "resnet18", "resnext101_32x8d", "vgg19_bn", "fc_densenet103",
        "covid_cxnet", "covid_cxnet_resnet50", "unet_cxnet", "unet", "efficientnet_b4",
        "efficientnet_lite0", "qatar_vgg16", "covid_net",
    ],
)  # fmt: skip
def test_gradient_reaches_every_parameter(name):
    # In evaluation mode: a bias under a BatchNorm has gradient zero when that normalises by the
    # batch. The auxiliary head exists in training only (test_inception.py).
    model = shrunk(name)
    size = 64 if name == "inception_v3" else 32
    variables = random_variables(model, 1, size, size, 1)

    @quick_jit
    def gradients(variables, x):
        def loss(params):
            logits, _ = model.apply({**variables, "params": params}, x, False)
            return jnp.square(logits).sum()

        return jax.grad(loss)(variables["params"])

    sizes = leaf_sizes(gradients(variables, normal(2, size, size, 1)))
    unreached = {path for path, size in sizes.items() if not (np.isfinite(size) and size > 0)}
    assert {path for path in unreached if not path.startswith("AuxLogits")} == set()


def test_training_updates_batch_statistics_by_a_tenth_and_evaluation_none():
    model = shrunk("densenet121")
    variables = random_variables(model, 1, 32, 32, 1)
    x = normal(2, 32, 32, 1)

    @quick_jit
    def run(variables, x, key):
        _, trained = model.apply(variables, x, True, rngs={"dropout": key}, mutable=["batch_stats"])
        (first, _), evaluated = model.apply(variables, x, False, mutable=["batch_stats"])
        alone, _ = model.apply(variables, x[:1], False)
        return trained["batch_stats"], evaluated["batch_stats"], first, alone

    before = variables["batch_stats"]
    trained, evaluated, first, alone = run(variables, x, jax.random.key(2))
    means = leaf_sizes(jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), trained, before))
    assert all(change > 0 for path, change in means.items() if path.endswith("mean"))
    for path, value in flax.traverse_util.flatten_dict(trained, sep="/").items():
        if path.endswith("var"):  # .9 of the initial one, and something positive
            assert np.asarray(value).min() >= 0.9 - 1e-6, path
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(evaluated), strict=True):
        np.testing.assert_array_equal(old, new)
    # Evaluation does not depend on the other examples of the batch.
    np.testing.assert_allclose(np.asarray(first)[:1], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["vgg16", "qatar_vgg16", "covid_cxnet", "unet"])
def test_dropout_follows_its_key_and_is_off_in_evaluation(name):
    model = shrunk(name)
    x = normal(2, 32, 32, 1)
    variables = random_variables(model, 1, 32, 32, 1)

    @quick_jit
    def train_logits(variables, x, key):
        rngs = {"dropout": key}
        return model.apply(variables, x, True, rngs=rngs, mutable=["batch_stats"])[0][0]

    first, again, other = (train_logits(variables, x, jax.random.key(i)) for i in (2, 2, 3))
    np.testing.assert_array_equal(first, again)
    assert np.abs(np.asarray(first) - np.asarray(other)).max() > 1e-4
    evaluate = jax.eval_shape(lambda x: model.apply(variables, x, False)[0], x)  # needs no rng
    assert evaluate.shape == first.shape


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vgg16", {"dropout": 0.0}),
        ("qatar_vgg16", {"dropout": 0.0}),
        ("covid_net", {}),
        ("covid_cxnet", {"head_dropout": 0.0}),
        ("unet", {"dropout": 0.0}),
        ("unet_cxnet", {}),
    ],
)
def test_dropout_zero_needs_no_key(name, options):
    model = shrunk(name, **options)
    x = normal(2, 32, 32, 1)
    logits, _ = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x, True)[0], x)
    assert logits.shape[-1] == 3


@pytest.mark.parametrize(
    "name",
    [
        "densenet161", "resnext101_32x8d", "vgg19_bn", "covid_cxnet", "unet_cxnet", "unet",
        "efficientnet_b4", "efficientnet_lite0", "qatar_vgg16", "covid_net",
    ],
)  # fmt: skip
def test_half_precision_keeps_float32_parameters_and_logits(name):
    logits, out, variables = shapes(shrunk(name, dtype=jnp.bfloat16), 2, 32, 32, 1)
    assert logits.dtype == jnp.float32
    assert out["features"].dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


def test_devices_share_batch_statistics():
    """Two halves of a batch under one axis name give the logits of the whole batch."""
    x = normal(4, 32, 32, 1)
    variables = random_variables(shrunk("resnet18"), 1, 32, 32, 1)

    def logits(variables, x, axis_name):
        model = shrunk("resnet18", axis_name=axis_name)
        return model.apply(variables, x, True, mutable=["batch_stats"])[0][0]

    whole = quick_jit(functools.partial(logits, axis_name=None))(variables, x)
    on_half = jax.vmap(
        functools.partial(logits, axis_name="data"), in_axes=(None, 0), axis_name="data"
    )
    halves = quick_jit(on_half)(variables, x.reshape(2, 2, 32, 32, 1))
    np.testing.assert_allclose(np.asarray(halves).reshape(4, 3), whole, rtol=1e-3, atol=1e-4)


def test_a_network_has_the_features_of_the_row_that_it_adds_a_head_to():
    assert {
        name: models.backbone(name) for name in models.MODELS if models.backbone(name) != name
    } == {
        "covid_cxnet": "densenet121",
        "covid_cxnet_resnet50": "resnet50",
        "lite_unet": "efficientnet_lite0",
        "qatar_lite": "efficientnet_lite0",
        "qatar_vgg16": "vgg16",
    }


def test_unknown_model_lists_the_known_ones():
    with pytest.raises(InputError, match=r"'densenet'.*densenet161.*neural_weight_module"):
        models.build("densenet", num_classes=4)


def test_option_that_a_model_lacks_is_named():
    with pytest.raises(InputError, match=r"resnet18 has no option remat\. Known: .*dropout"):
        models.build("resnet18", num_classes=4, remat=True)
    with pytest.raises(InputError, match="neural_weight_module has no option width"):
        models.build("neural_weight_module", num_classes=4, width=0.5)


@pytest.mark.parametrize("name", IMAGE_ROWS)
def test_wrong_channels_are_an_input_error(name):
    with pytest.raises(InputError, match=r"in_channels=1, but the input has 2 channel"):
        shapes(shrunk(name), 1, 64, 64, 2)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("densenet161", 29),
        ("inception_v3", 27),
        ("vgg16", 32),
        ("fc_densenet103", 32),
        ("unet_cxnet", 16),
    ],
)
def test_smallest_image_is_accepted_and_the_next_smaller_named(name, size):
    shapes(shrunk(name), 1, size, size, 1, train=True)
    with pytest.raises(InputError, match=f"at least {size} x {size}.*got {size - 1} x {size - 1}"):
        shapes(shrunk(name), 1, size - 1, size - 1, 1)
