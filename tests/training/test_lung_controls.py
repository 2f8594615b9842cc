"""`data.lungs` shows no network what it is to find, and none nothing at all."""

import pytest

from configs import lung_unet, patched_densenet
from jaxcxr.errors import InputError
from jaxcxr.training.prepare import prepare


@pytest.mark.parametrize("lungs", ["box", "pixels", "removed", "shape"])
def test_a_segmenter_sees_whole_images(lungs):
    config = lung_unet.get_config()
    config.data.lungs = lungs
    with pytest.raises(InputError, match=r"shows a segmenter the masks .*data\.lungs=whole"):
        prepare(config)


@pytest.mark.parametrize("lungs", ["removed", "shape"])
def test_patches_are_not_cut_from_lungs_that_are_not_there(lungs):
    config = patched_densenet.get_config()
    config.data.lungs = lungs
    with pytest.raises(InputError, match="leaves nothing of the lungs that patches are cut from"):
        prepare(config)
