"""First convolutions that patches share: the same where there is nothing to share, another thing
where there is.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import shared
from jaxcxr.training import steps
from tests import tiny
from tfds_builders.phantom_cxr import drawing

LAYER = "features/transition1"


def example(image_size: int, size: int):
    config = tiny.shrink(tiny.load("patched_densenet"))
    config = tiny.change(config, data__image_size=image_size, patches__size=size, model__width=0.25)
    task = steps.compile_for(config, class_weights=np.ones(4, np.float32)).task
    phantom = drawing.draw(seed=0, patient=1, image=0, size=image_size)
    return config, task, phantom.image, phantom.masks["lung"].astype(np.uint8)


def run(config, task, image, mask, count, layer=LAYER):
    key = jax.random.key(3)
    exact, together, _ = shared.programs(config, layer=layer, count=count)
    variables = task.init(0)
    return [
        np.asarray(program(variables, image, mask, jax.random.fold_in(key, 0)))
        for program in (exact, together)
    ]


def test_exact_is_what_a_run_predicts():
    config, task, image, mask = example(64, 32)
    exact, _ = run(config, task, image, mask, 5)
    assert np.ptp(exact, axis=0).min() > 1e-3  # no dead network
    batch = {"image": image[None], "mask": mask[None], "index": jnp.zeros(1, jnp.int32)}
    predicted = task.predict(task.init(0), batch, jax.random.key(3), count=5)
    np.testing.assert_allclose(
        jax.nn.softmax(exact).mean(0), predicted["mean_softmax"][0], rtol=1e-5
    )


def test_a_patch_that_is_the_whole_image_shares_everything():
    exact, together = run(*example(64, 64), 1)
    np.testing.assert_allclose(together, exact, rtol=1e-4, atol=1e-5)


def test_a_patch_with_neighbours_sees_them():
    exact, together = run(*example(64, 32), 5)
    assert exact.shape == together.shape == (5, 4)
    assert np.abs(exact - together).max() > 1e-3


def test_every_patch_gets_its_own_part_of_the_map():
    """On a smooth picture, darker to the right and downwards, a pixel and a patch's border matter
    little.
    """
    config, task, image, mask = example(96, 32)
    config.patches.apply_mask = False
    rows, columns = np.mgrid[:96, :96]
    image = (250 - 1.9 * rows - 0.6 * columns).astype(np.uint8)
    exact, together = run(config, task, image, mask, 12, layer="features/conv0")
    # 0.97 and more; with rows for columns -0.3 to 0.7
    for logits in zip(exact.T, together.T, strict=True):
        assert np.corrcoef(*logits)[0, 1] > 0.9


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--layer=features/transition7"],
            "--layer=features/transition7 is no feature map of densenet161; near: ",
        ),
        (
            ["--layer=features/denseblock1/denselayer1/conv1"],
            "conv1: something of the image goes round that map",
        ),
        (["--patches=0"], "argument --patches: 0 is below 1"),
        (["nowhere"], "nowhere is no run of a patched learner"),
    ],
)
def test_mistakes_are_answered_in_a_line(arguments, says, capsys, monkeypatch):
    # Which would take the user's compilation cache.
    monkeypatch.setattr(shared.device, "start", lambda config: None)
    with pytest.raises(SystemExit, match="2"):
        shared.main(arguments)
    assert says in capsys.readouterr().err


def test_a_map_that_does_not_divide_its_patch_is_refused():
    config, *_ = example(64, 44)
    with pytest.raises(ValueError, match="features/transition1 has 5 places on a patch of 44 px"):
        shared.programs(config, layer=LAYER, count=2)
