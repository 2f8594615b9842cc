"""Keras's networks and files give Keras's results. Keras 3 runs on JAX here."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxcxr import models, weights
from jaxcxr.models.initialise import initialise
from jaxcxr.weights.merge import merge
from jaxcxr.weights.rules import ConvertedWeights
from tests.parity.errors import relative

os.environ["KERAS_BACKEND"] = "jax"
h5py = pytest.importorskip("h5py", reason="h5py is not installed: requirements-parity.txt has it")
keras = pytest.importorskip(
    "keras", reason="keras is not installed: requirements-parity.txt has it"
)


@pytest.fixture(autouse=True)
def seeded():
    """Kernels keep Keras's own numbers, which it draws anew in every process."""
    keras.utils.set_random_seed(0)


def write_legacy(model, path):
    """The HDF5 layout of Keras 1 and 2, in which its published weights are."""
    with h5py.File(path, "w") as file:
        for layer in model.layers:
            for weight in layer.weights:
                file[f"{layer.name}/{layer.name}/{weight.name}:0"] = np.asarray(weight.value)


def randomise(model):
    """Other numbers in every array but the kernels, none at its initial value."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        for weight in layer.weights:
            value, spread = np.asarray(weight.value), rng.uniform(0.5, 1.5, weight.shape)
            kind = weight.name.rpartition("/")[2]
            if kind in ("gamma", "moving_variance"):
                value = spread
            elif kind in ("beta", "bias", "moving_mean"):
                value = (spread - 1) / 5
            weight.assign(value)


def outputs(model, x):
    """In evaluation. Our tests forbid broadcasting over rank, on which Keras relies."""
    with jax.numpy_rank_promotion("allow"):
        return np.asarray(model(x, training=False))


@pytest.mark.parametrize(("arch", "builder"), [("densenet121", "DenseNet121"), ("vgg16", "VGG16")])
@pytest.mark.parametrize("side", [64, 97])
def test_an_application_and_ours_give_the_same_features(tmp_path, arch, builder, side):
    theirs = getattr(keras.applications, builder)(
        weights=None, include_top=False, input_shape=(side, side, 3), pooling="avg"
    )
    randomise(theirs)
    write_legacy(theirs, tmp_path / "notop.h5")
    x = np.random.default_rng(1).normal(size=(2, side, side, 3)).astype(np.float32)
    expected = outputs(theirs, x)

    module = models.build(arch, num_classes=4)
    fresh = initialise(module, 0, jax.ShapeDtypeStruct(x.shape, jnp.float32))
    entry = weights.catalog.find(f"{arch}.keras_notop")
    source = weights.Source(entry.name, entry, tmp_path / "notop.h5")
    variables = weights.load(source, fresh, arch=arch, new_head=True).variables
    first = x[..., ::-1] if arch == "vgg16" else x  # Keras's VGG takes blue first
    _, out = jax.jit(lambda v, x: module.apply(v, x, train=False))(variables, first)
    assert relative(np.asarray(out["features"]).mean((1, 2)), expected) < 1e-4


def test_vgg16_with_its_head_gives_the_same_logits(tmp_path):
    theirs = keras.applications.VGG16(weights=None, classes=7, classifier_activation=None)
    randomise(theirs)
    write_legacy(theirs, tmp_path / "whole.h5")
    x = np.random.default_rng(1).normal(size=(2, 224, 224, 3)).astype(np.float32)
    expected = outputs(theirs, x)

    module = models.build("vgg16", num_classes=7)
    shapes = initialise(module, None, jax.ShapeDtypeStruct(x.shape, jnp.float32))
    found = weights.load(
        weights.find(str(tmp_path / "whole.h5")), shapes, arch="vgg16", new_head=False
    )
    logits, _ = jax.jit(lambda v, x: module.apply(v, x, train=False))(found.variables, x[..., ::-1])
    assert relative(np.asarray(logits), expected) < 1e-4


@pytest.mark.parametrize("classes", [1, 3])
def test_covid_cxnet_with_its_head_gives_the_same_logits(tmp_path, classes):
    """Layer names are those of the published notebooks."""
    backbone = keras.applications.DenseNet121(
        weights=None, include_top=False, input_shape=(97, 97, 3), pooling="avg"
    )
    y = keras.layers.Dense(10, activation="relu", name="fc")(backbone.output)
    y = keras.layers.Dropout(0.2, name="dropout")(y)
    theirs = keras.Model(backbone.input, keras.layers.Dense(classes, name="pred")(y))
    randomise(theirs)
    write_legacy(theirs, tmp_path / "whole.h5")
    x = np.random.default_rng(1).normal(size=(4, 97, 97, 3)).astype(np.float32)
    expected = outputs(theirs, x)

    module = models.build("covid_cxnet", num_classes=classes)
    shapes = initialise(module, None, jax.ShapeDtypeStruct(x.shape, jnp.float32))
    assert theirs.count_params() - sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 0
    source = weights.find(str(tmp_path / "whole.h5"))
    found = weights.load(source, shapes, arch="covid_cxnet", new_head=False)
    logits, _ = jax.jit(lambda v, x: module.apply(v, x, train=False))(found.variables, x)
    assert relative(np.asarray(logits), expected) < 1e-4


@pytest.mark.parametrize(
    ("side", "window", "head_pool"),
    [(64, 2, 0), (97, 2, 2)],
    ids=["whole map", "3x3 map cut to 2x2"],
)
def test_qatar_vgg16_gives_the_same_logits(tmp_path, side, window, head_pool):
    """Section 3.3.3: VGG-16 without top, average pool, flatten, dense 128, dropout, dense 3."""
    backbone = keras.applications.VGG16(
        weights=None, include_top=False, input_shape=(side, side, 3)
    )
    y = keras.layers.Flatten()(keras.layers.AveragePooling2D(window)(backbone.output))
    y = keras.layers.Dense(128, activation="relu", name="hidden")(y)
    theirs = keras.Model(
        backbone.input, keras.layers.Dense(3, name="classifier")(keras.layers.Dropout(0.5)(y))
    )
    randomise(theirs)
    write_legacy(theirs, tmp_path / "whole.h5")
    x = np.random.default_rng(1).normal(size=(2, side, side, 3)).astype(np.float32)
    expected = outputs(theirs, x)

    module = models.build("qatar_vgg16", num_classes=3, head_pool=head_pool)
    shapes = initialise(module, None, jax.ShapeDtypeStruct(x.shape, jnp.float32))
    assert theirs.count_params() == sum(leaf.size for leaf in jax.tree.leaves(shapes))
    found = weights.load(
        weights.find(str(tmp_path / "whole.h5")), shapes, arch="qatar_vgg16", new_head=False
    )
    logits, _ = jax.jit(lambda v, x: module.apply(v, x, train=False))(found.variables, x[..., ::-1])
    assert relative(np.asarray(logits), expected) < 1e-5


@pytest.mark.parametrize(
    ("name", "channels", "units", "shape", "count"),
    [
        ("qatar_cnn", (32, 16, 16), (512, 256), (100, 100), 959_651),
        ("v7_diagnosis", (32, 64), (64,), (246, 236), 14_027_971),
    ],
)
def test_the_papers_small_networks_give_the_same_logits(
    tmp_path, name, channels, units, shape, count
):
    """Put together as in Agarwal and Srivastava's table, and in section 5.1 of the V7 paper."""
    keras.backend.clear_session()  # so that the layers are conv2d, conv2d_1, ... again
    y = inputs = keras.layers.Input((*shape, 3))
    for features in channels:
        y = keras.layers.MaxPooling2D()(keras.layers.Conv2D(features, 3, activation="relu")(y))
        y = keras.layers.Dropout(0.2)(y)
    y = keras.layers.Flatten()(y)
    for n in units:
        y = keras.layers.Dense(n, activation="relu")(y)
    theirs = keras.Model(inputs, keras.layers.Dense(3)(y))
    randomise(theirs)
    write_legacy(theirs, tmp_path / "whole.h5")
    x = np.random.default_rng(1).normal(size=(2, *shape, 3)).astype(np.float32)
    expected = outputs(theirs, x)

    module = models.build(name, num_classes=3)
    template = initialise(module, None, jax.ShapeDtypeStruct(x.shape, jnp.float32))
    assert theirs.count_params() == count
    found = weights.load(
        weights.find(str(tmp_path / "whole.h5")), template, arch=name, new_head=False
    )
    assert not found.newly_initialized
    logits, _ = jax.jit(lambda v, x: module.apply(v, x, train=False))(found.variables, x)
    assert relative(np.asarray(logits), expected) < 1e-5


def keras_unet(classic: bool):
    """(model up to the logits, our module of each layer), as the papers' code puts them
    together.
    """
    layers, ours = keras.layers, {}

    def conv(x, path, features, size=3, activation="relu"):
        ours[path] = layers.Conv2D(features, size, padding="same", activation=activation)
        return ours[path](x)

    def block(x, path, features):
        return conv(conv(x, f"{path}/conv1", features), f"{path}/conv2", features)

    first = 64 if classic else 32
    x = inputs = layers.Input((48, 64, 1))
    skips = []
    for i in range(1, 5):
        x = block(x, f"down{i}", first << (i - 1))
        skips.append(layers.Dropout(0.5)(x) if classic and i == 4 else x)
        x = layers.MaxPooling2D(2)(skips[-1])
    x = block(x, "bottleneck", first << 4)
    x = layers.Dropout(0.5)(x) if classic else x
    for i in range(4, 0, -1):
        if classic:
            x = conv(layers.UpSampling2D(2)(x), f"upsample{i}/conv", first << (i - 1), 2)
        else:
            ours[f"upsample{i}"] = layers.Conv2DTranspose(
                first << (i - 1), 2, strides=2, padding="same"
            )
            x = ours[f"upsample{i}"](x)
        x = block(layers.Concatenate()([x, skips[i - 1]]), f"up{i}", first << (i - 1))
    x = conv(x, "narrow", 2) if classic else x
    return keras.Model(inputs, conv(x, "head", 1, 1, None)), ours


@pytest.mark.parametrize(("name", "classic"), [("unet_cxnet", False), ("unet", True)])
def test_a_u_net_gives_the_same_logits(name, classic):
    theirs, layer_of = keras_unet(classic)
    randomise(theirs)
    x = np.random.default_rng(1).normal(size=(2, 48, 64, 1)).astype(np.float32)
    expected = outputs(theirs, x)
    assert expected.std() > 1e-2  # the narrow ReLUs live

    module = models.build(name, num_classes=1)
    shapes = initialise(module, None, jax.ShapeDtypeStruct(x.shape, jnp.float32))
    arrays = {
        f"{path}/{leaf.name}": np.asarray(leaf.value)
        for path, layer in layer_of.items()
        for leaf in layer.weights
    }
    variables = merge(ConvertedWeights(arrays, dict.fromkeys(arrays, ""), {}), shapes).variables
    assert theirs.count_params() == sum(array.size for array in arrays.values())
    logits, _ = jax.jit(lambda v, x: module.apply(v, x, train=False))(variables, x)
    assert relative(np.asarray(logits), expected) < 1e-4


@pytest.fixture
def checkpoints(real_data):
    folder = real_data / "weights" / "covid_cxnet_base_model"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: COVID-CXNet's own checkpoints")
    return folder


@pytest.fixture
def xrays(real_data):
    """Eight real X-rays, [8, side, side, channels] in [0, 1]."""

    def load(side: int, channels: int) -> np.ndarray:
        paths = sorted((real_data / "ccx" / "images").iterdir())[:8]
        images = [
            np.asarray(Image.open(p).convert("L").resize((side, side)), np.float32) / 255
            for p in paths
        ]
        return np.repeat(np.stack(images)[..., None], channels, axis=-1)

    return load


@pytest.mark.parametrize(
    ("tag", "file"),
    [
        ("v1_0", "v1.0_eps=099_valAcc=0.9672.hdf5"),
        ("v2", "v2_eps=072_valLoss=0.1190.hdf5"),
        ("v_free", "v_free/eps=103_valLoss=0.0335.hdf5"),
    ],
)
def test_covid_cxnets_own_checkpoints(checkpoints, xrays, tag, file):
    entry = weights.catalog.find(f"covid_cxnet_base.{tag}")
    x = xrays(entry.input_size, entry.in_channels)
    theirs = keras.saving.load_model(checkpoints / file, compile=False)
    expected = outputs(theirs, [x])

    module = models.build("covid_cxnet_base", num_classes=1, in_channels=entry.in_channels)
    fresh = initialise(module, 0, jax.ShapeDtypeStruct(x.shape, jnp.float32))
    source = weights.Source(entry.name, None, checkpoints / file)
    loaded = weights.load(source, fresh, arch="covid_cxnet_base", new_head=False)
    logits, _ = jax.jit(lambda v, x: module.apply(v, x, train=False))(loaded.variables, x)
    np.testing.assert_allclose(jax.nn.sigmoid(logits), expected, atol=1e-5)
    assert expected.std() > 1e-3  # it tells X-rays apart
