"""What memory programs need: patches a chunk at a time, dense blocks computed again."""

import pytest

from benchmarks import memory
from tests import tiny


def test_patches_beyond_a_chunk_add_their_pixels_and_no_maps():
    with pytest.MonkeyPatch.context() as patch:
        tiny.add_networks(patch)
        config = tiny.learner(patches__size=32, patches__chunk=8, model__width=1.0)
        given, some = memory.prediction(config, count=16)
        assert given >= config.data.image_size**2
        pixels = (64 - 16) * config.patches.size**2 * 4
        assert memory.prediction(config, count=64)[1] - some < 4 * pixels
        config.patches.chunk = 64
        assert memory.prediction(config, count=64)[1] - some > 16 * pixels


def test_recomputing_keeps_less_for_the_backward_pass():
    config = tiny.shrink(tiny.load("fc_densenet103"))
    config.model.depth = 0.5
    whole = memory.backward(config)
    config.model.remat = True
    assert 0 < memory.backward(config) < 0.8 * whole


def test_the_command_names_network_and_count(monkeypatch, capsys):
    # Which would take the user's compilation cache.
    monkeypatch.setattr(memory.device, "start", lambda config: None)
    monkeypatch.setattr(memory, "prediction", lambda config, count: (2**29, 3 * 2**30))
    monkeypatch.setattr(memory, "backward", lambda config: 2**30 * (1 if config.model.remat else 5))
    assert memory.main(["--learner=vgg19_bn"]) == 0
    first, kept, recomputed, _ = capsys.readouterr().out.splitlines()
    assert (
        first == "vgg19_bn: K = 100, 64 at once: weights and image 0.50 GiB, temporaries 3.00 GiB"
    )
    assert kept.endswith(
        "2 images of 256 px, model.remat=False: 5.00 GiB kept for the backward pass"
    )
    assert recomputed.endswith("model.remat=True: 1.00 GiB kept for the backward pass")
