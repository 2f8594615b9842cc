"""Random turns, zooms, shifts, mirrorings and brightness, as COVID-CXNet trained with (paper 3.2).

`Looks` has what else X-rays of other hospitals differ in: contrast, gamma, noise, devices and
letters, black borders, and white for black.

Published ranges: the base model max_rotation=90, hflip=vflip=0.5; CXNet max_rotation=170,
hflip=vflip=0.5, zoom=(0.8, 1.5), shift=0.2 (three classes: 0.1), fill=0 and brightness 0.5 to 1.3.
The draws follow Keras's ImageDataGenerator, which made them; what an image becomes depends on its
own key alone.
"""

from __future__ import annotations

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np


def random_affine(
    key: chex.PRNGKey,
    image: jax.Array | np.ndarray,
    *,
    max_rotation: float = 0.0,
    zoom: tuple[float, float] = (1.0, 1.0),
    shift: float = 0.0,
    hflip: float = 0.0,
    vflip: float = 0.0,
    fill: float = 0.0,
    order: int = 1,
) -> jax.Array:
    """Turns, zooms, shifts and mirrors an image at random, in one resampling.

    Args:
        key: of this image.
        image: [H, W] or [H, W, C] float; the channels stay together.
        max_rotation: degrees; the angle is uniform up to this, either way.
        zoom: least and greatest part of the image's height, and of its width, that is shown. As in
            Keras the two are drawn apart, so the aspect ratio changes too, and above 1 the image
            shrinks: 0.8 enlarges by 1.25, 1.5 leaves a third of the height to `fill`.
        shift: greatest part of the height, and of the width, by which the image moves, either way.
        hflip: probability of mirroring left and right.
        vflip: probability of mirroring top and bottom.
        fill: the value beyond the image's border.
        order: 1 is bilinear, 0 takes the nearest pixel, as ids want it; the same key moves both
            alike.

    Returns:
        The image's shape and type. With the default ranges it is the image, bit for bit.

    Raises:
        ValueError: a range is the wrong way round or out of bounds.
    """
    low, high = zoom
    if not 0 < low <= high:
        raise ValueError(f"zoom={zoom} must be two factors above 0, the smaller first")
    if max_rotation < 0 or shift < 0:
        raise ValueError(f"max_rotation={max_rotation} and shift={shift} must not be negative")
    if not (0 <= hflip <= 1 and 0 <= vflip <= 1):
        raise ValueError(f"hflip={hflip} and vflip={vflip} must be probabilities")
    angle_key, zoom_key, shift_key, flip_key = jax.random.split(key, 4)
    return affine(
        image,
        angle=jax.random.uniform(angle_key, minval=-max_rotation, maxval=max_rotation),
        zoom=jax.random.uniform(zoom_key, (2,), minval=low, maxval=high),
        shift=jax.random.uniform(shift_key, (2,), minval=-shift, maxval=shift),
        flip=jax.random.bernoulli(flip_key, jnp.asarray([vflip, hflip])),
        fill=fill,
        order=order,
    )


def affine(
    image: jax.Array | np.ndarray,
    *,
    angle: chex.Numeric = 0.0,
    zoom: jax.Array | np.ndarray | tuple[float, float] = (1.0, 1.0),
    shift: jax.Array | np.ndarray | tuple[float, float] = (0.0, 0.0),
    flip: jax.Array | np.ndarray | tuple[bool, bool] = (False, False),
    fill: float = 0.0,
    order: int = 1,
) -> jax.Array:
    """One given turn, zoom, shift and mirroring about the image's centre.

    A pixel d from the centre shows what lies R (shift * (H, W) + zoom * d) from it, with d mirrored
    first: Keras's order. Equals `scipy.ndimage.affine_transform` of order 1 and mode
    "grid-constant" to 1e-4: at the border the image fades into `fill` over one pixel, where mode
    "constant" (Keras) breaks off. The Keras of 2020 turned about a point one pixel below and to the
    right of the centre (keras-team/keras-preprocessing#314).

    Args:
        image: [H, W] or [H, W, C] float.
        angle: degrees, counter-clockwise as in Pillow and `geometry.rotate_crop`.
        zoom: [2] parts of the height and width that are shown, see `random_affine`.
        shift: [2] parts of the height and width; positive moves the image up and to the left.
        flip: [2] whether top and bottom, left and right change places.
        fill: the value beyond the image's border.
        order: 1 is bilinear, 0 takes the nearest pixel.

    Returns:
        The image's shape and type.
    """
    chex.assert_rank(image, {2, 3})
    chex.assert_type(image, float)
    image = jnp.asarray(image)
    height, width = image.shape[:2]
    middle = (height - 1) / 2, (width - 1) / 2
    zoom, shift = jnp.asarray(zoom, jnp.float32), jnp.asarray(shift, jnp.float32)
    scale = jnp.where(jnp.asarray(flip), -zoom, zoom)
    chex.assert_shape([scale, shift], (2,))
    dy = shift[0] * height + scale[0] * (jnp.arange(height) - middle[0])
    dx = shift[1] * width + scale[1] * (jnp.arange(width) - middle[1])
    dy, dx = jnp.meshgrid(dy, dx, indexing="ij")
    radians = jnp.deg2rad(angle)
    cos, sin = jnp.cos(radians), jnp.sin(radians)
    places = [middle[0] + sin * dx + cos * dy, middle[1] + cos * dx - sin * dy]

    def resample(channel: jax.Array) -> jax.Array:
        return jax.scipy.ndimage.map_coordinates(channel, places, order=order, cval=fill)

    return (
        resample(image) if image.ndim == 2 else jax.vmap(resample, in_axes=-1, out_axes=-1)(image)
    )


def random_quarter_turns(key: chex.PRNGKey, probability: float) -> jax.Array:
    """0, or with a probability 1, 2 or 3: int32, for `quarter_turned`."""
    some_key, turns_key = jax.random.split(key)
    turns = jax.random.randint(turns_key, (), 1, 4)
    return jnp.where(jax.random.bernoulli(some_key, probability), turns, 0)


def quarter_turned(image: jax.Array, turns: jax.Array) -> jax.Array:
    """A square image [S, S] or [S, S, C] turned counter-clockwise by 90 degrees, 0 to 3 times."""
    return jnp.stack([jnp.rot90(image, n) for n in range(4)])[turns]


def random_brightness(
    key: chex.PRNGKey, image: jax.Array | np.ndarray, *, low: float, high: float
) -> jax.Array:
    """Multiplies an image by one uniform factor and cuts it off at white.

    Keras's `brightness_range` stretches each image first, so that its brightest pixel is white;
    this does not.

    Args:
        key: of this image.
        image: [...] float in [0, 1].
        low: least factor, 0 or more (COVID-CXNet: 0.5).
        high: greatest factor (COVID-CXNet: 1.3).

    Returns:
        The image's shape and type, in [0, 1]. With low = high = 1 it is the image, bit for bit.

    Raises:
        ValueError: a factor is negative, or low is above high.
    """
    if not 0 <= low <= high:
        raise ValueError(f"brightness from {low} to {high}: give 0 <= low <= high")
    chex.assert_type(image, float)
    image = jnp.asarray(image)
    factor = jax.random.uniform(key, minval=low, maxval=high).astype(image.dtype)
    return jnp.clip(image * factor, 0, 1)


@dataclasses.dataclass(frozen=True)
class Looks:
    """Random changes of how an X-ray looks, chosen for each image; the default is none.

    Call with a key and an image [H, W] or [H, W, C] float in [0, 1].

    Attributes:
        brightness: range of factors, see `random_brightness`.
        contrast: range of factors on the distance of each pixel from the image's mean.
        gamma: range of exponents; the logarithm is uniform.
        noise: greatest standard deviation of Gaussian noise.
        objects: greatest number of rectangles of one grey each, at most a quarter of the side wide
            and high, as devices and letters.
        borders: greatest width of a black border, fraction of the side, drawn for each of the four.
        inverted: probability of white for black.
    """

    brightness: tuple[float, float] = (1.0, 1.0)
    contrast: tuple[float, float] = (1.0, 1.0)
    gamma: tuple[float, float] = (1.0, 1.0)
    noise: float = 0.0
    objects: int = 0
    borders: float = 0.0
    inverted: float = 0.0

    def __call__(self, key: chex.PRNGKey, image: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The image's shape and type, in [0, 1]; and [H, W] bool, what a border hides."""
        if self == Looks(brightness=self.brightness):  # the key of runs without the others
            low, high = self.brightness
            image = random_brightness(key, image, low=low, high=high)
            return image, jnp.zeros(image.shape[:2], bool)
        keys = jax.random.split(key, 7)
        low, high = self.brightness
        image = random_brightness(keys[0], image, low=low, high=high)
        factor = jax.random.uniform(keys[1], minval=self.contrast[0], maxval=self.contrast[1])
        image = jnp.clip((image - image.mean()) * factor + image.mean(), 0, 1)
        low, high = np.log(self.gamma)
        exponent = jnp.exp(jax.random.uniform(keys[2], minval=low, maxval=high))
        image = jnp.maximum(image, 1e-6) ** exponent
        for object_key in jax.random.split(keys[3], self.objects):
            image = _with_rectangle(object_key, image)
        deviation_key, noise_key = jax.random.split(keys[4])
        deviation = jax.random.uniform(deviation_key, maxval=self.noise)
        image = image + deviation * jax.random.normal(noise_key, image.shape)
        image = jnp.where(jax.random.bernoulli(keys[5], self.inverted), 1 - image, image)
        hidden = self._border(keys[6], image.shape[:2])
        shown = ~hidden if image.ndim == 2 else ~hidden[..., None]
        return jnp.clip(image, 0, 1) * shown, hidden

    def _border(self, key: chex.PRNGKey, shape: tuple[int, ...]) -> jax.Array:
        """[H, W] bool: the pixels of four borders, half of which have no width."""
        width_key, some_key = jax.random.split(key)
        widths = jax.random.uniform(width_key, (4,), maxval=self.borders)
        top, bottom, left, right = widths * jax.random.bernoulli(some_key, shape=(4,))
        y, x = _places(shape)
        return (y < top) | (y > 1 - bottom) | (x < left) | (x > 1 - right)


def _with_rectangle(key: chex.PRNGKey, image: jax.Array) -> jax.Array:
    """An image with a rectangle of one grey at a random place; in half of the images with none."""
    there_key, grey_key, place_key, size_key = jax.random.split(key, 4)
    centre, size = jax.random.uniform(place_key, (2,)), jax.random.uniform(size_key, (2,)) ** 2 / 4
    y, x = _places(image.shape)
    inside = (jnp.abs(y - centre[0]) < size[0] / 2) & (jnp.abs(x - centre[1]) < size[1] / 2)
    inside &= jax.random.bernoulli(there_key)
    inside = inside if image.ndim == 2 else inside[..., None]
    return jnp.where(inside, jax.random.uniform(grey_key), image)


def _places(shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """The middles of an image's pixels, y [H, 1] and x [1, W], from 0 to 1 across the image."""
    y, x = ((jnp.arange(length) + 0.5) / length for length in shape[:2])
    return y[:, None], x[None]
