"""v7_darwin: Darwin JSON of both versions, and the masks that are drawn of it or read from PNG."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from scipy import ndimage
from skimage.draw import polygon2mask

from tests.tfds_builders import builds
from tests.tfds_builders.darwin_files import document, square, write
from tfds_builders.v7_darwin import darwin, regions

LUNGS = (("Lung", square(2, 3, 7, 12)), ("Lung", square(11, 3, 16, 12)))
BOTH_VERSIONS = pytest.mark.parametrize("version", [1, 2])


def drawn(tmp_path, *shapes, version=1, size=(20, 16)) -> np.ndarray:
    path = write(
        tmp_path / "7.json", document("7", "a.png", shapes=shapes, version=version, size=size)
    )
    return regions.draw(darwin.read(path))


def areas(pixels: np.ndarray) -> dict[int, int]:
    values, counts = np.unique(pixels, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


@BOTH_VERSIONS
def test_a_file_says_key_names_size_tags_and_shapes(tmp_path, version):
    content = document("7", "a.png", shapes=LUNGS, tags=("COVID-19", "View/PA"), version=version)
    content["annotations"].append(
        {"name": "Comment", "bounding_box": {"x": 1, "y": 1, "w": 2, "h": 2}}
    )
    found = darwin.read(write(tmp_path / "7.json", content))
    assert (found.key, found.width, found.height) == ("7", 20, 16)
    assert found.names == (("a.png", "00000007.jpg") if version == 1 else ("a.png",))
    assert found.tags == ("COVID-19", "View/PA")
    assert [shape.name for shape in found.shapes] == ["Lung", "Lung"]
    assert found.has_lungs


@pytest.mark.parametrize(
    "url, key", [("https://x/api/images/1676192/original", "1676192"), ("", "some file")]
)
def test_the_key_is_the_number_in_the_address_else_the_name_of_the_file(tmp_path, url, key):
    content = document("1", "a.png")
    content["image"]["url"] = url
    assert darwin.read(write(tmp_path / "some file.json", content)).key == key


@BOTH_VERSIONS
def test_the_corners_of_a_square_belong_to_it(tmp_path, version):
    pixels = drawn(tmp_path, *LUNGS, version=version)
    assert pixels.shape == (16, 20)
    assert areas(pixels) == {0: 16 * 20 - 2 * 6 * 10, 255: 2 * 6 * 10}
    assert (pixels[3:13, 2:8] == 255).all()


def test_a_triangle_has_the_pixels_on_and_below_its_diagonal(tmp_path):
    corners = [{"x": 0, "y": 0}, {"x": 0, "y": 9}, {"x": 9, "y": 0}]
    assert areas(drawn(tmp_path, ("Lung", corners)))[255] == 10 * 11 // 2


@BOTH_VERSIONS
def test_a_second_path_is_a_hole_whose_rim_belongs_to_the_region(tmp_path, version):
    pixels = drawn(tmp_path, ("Lung", square(2, 2, 11, 11), square(4, 4, 9, 9)), version=version)
    assert areas(pixels)[255] == 10 * 10 - 4 * 4
    assert (pixels[5:9, 5:9] == 0).all()


def test_an_island_in_a_hole_is_filled_and_additional_paths_are_paths(tmp_path):
    rings = [square(2, 2, 13, 13), square(4, 4, 11, 11), square(6, 6, 9, 9)]
    content = document("7", "a.png", shapes=[("Lung", *rings)])
    late = copy.deepcopy(content)
    late["annotations"][0] = {
        "name": "Lung",
        "polygon": {"path": rings[0], "additional_paths": rings[1:]},
    }
    for variant in (content, late):
        pixels = regions.draw(darwin.read(write(tmp_path / "7.json", variant)))
        assert areas(pixels)[255] == 12 * 12 - 6 * 6 + 4 * 4


@BOTH_VERSIONS
def test_what_is_outside_the_image_is_cut_off(tmp_path, version):
    pixels = drawn(
        tmp_path, ("Lung", square(-3, -2, 4, 5)), ("Lung", square(30, 2, 40, 9)), version=version
    )
    assert areas(pixels)[255] == 5 * 6
    everything = drawn(tmp_path, ("Lung", square(-50_000, -50_000, 50_000, 50_000)))
    assert (everything == 255).all()


def test_a_polygon_has_the_pixels_that_scikit_image_finds_and_at_most_their_rim(tmp_path):
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radii = np.random.default_rng(0).uniform(20, 45, 40)
    x, y = np.rint(50 + radii * np.cos(angles)), np.rint(55 + radii * np.sin(angles))
    pixels = (
        drawn(
            tmp_path,
            ("Lung", [{"x": a, "y": b} for a, b in zip(x, y, strict=True)]),
            size=(100, 110),
        )
        == 255
    )
    expected = np.asarray(polygon2mask((110, 100), np.stack([y, x], axis=1)), bool)
    grown = np.asarray(ndimage.binary_dilation(expected), bool)
    assert (expected <= pixels).all()
    assert (pixels <= grown).all()


@pytest.mark.parametrize("first, lung", [("Lung", 36 - 9), ("Ignore", 36)])
def test_a_later_shape_covers_an_earlier_one(tmp_path, first, lung):
    shapes = {"Lung": square(2, 2, 7, 7), "Ignore": square(5, 5, 10, 10)}
    order = sorted(shapes.items(), key=lambda item: item[0] != first)
    assert areas(drawn(tmp_path, *order)) == {0: 16 * 20 - 63, 127: 63 - lung, 255: lung}


@pytest.mark.parametrize("scale", [0.5, 1, 2, 3])
def test_a_mask_takes_the_size_of_its_image(tmp_path, scale):
    pixels = drawn(tmp_path, ("Lung", square(2, 4, 9, 13)), ("Ignore", square(12, 4, 15, 7)))
    fitted = regions.fit(pixels, size=(int(20 * scale), int(16 * scale)))
    assert fitted.shape == (16 * scale, 20 * scale)
    assert areas(fitted) == {0: (320 - 96) * scale**2, 127: 16 * scale**2, 255: 80 * scale**2}


@pytest.mark.parametrize(
    "one, other, same",
    [
        ((512, 229), (2563, 1148), True),  # 229.3 rounded
        ((2563, 1148), (512, 229), True),
        ((466, 399), (359, 345), False),  # another crop of a picture
        ((100, 100), (100, 101), True),
        ((100, 100), (100, 102), False),
    ],
)
def test_one_shape_is_one_size_scaled_to_a_pixel(one, other, same):
    assert regions.same_shape(one, other) is same


def changed(keys, value) -> dict:
    """A version 1 file with one field replaced, or removed (value is Ellipsis)."""
    content = copy.deepcopy(document("7", "a.png", shapes=LUNGS))
    place = content
    for key in keys[:-1]:
        place = place[key]
    if value is ...:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    return content


POINT = ("annotations", 0, "polygon", "path", 1, "x")


@pytest.mark.parametrize(
    "content, message",
    [
        ([], r"holds no object but \[\]"),
        ({"version": "3.1"}, "version is '3.1': only 1 and 2"),
        ({"version": "2.0"}, "item is None: must be an object"),
        (changed(("image",), ...), "image is None: must be an object"),
        (changed(("image", "width"), ...), r"image\.width is None: must be a whole number"),
        (changed(("image", "height"), 16.5), r"image\.height is 16\.5: must be a whole number"),
        (changed(("image", "width"), 0), r"image\.width and image\.height are 0 and 16: no image"),
        (changed(("image", "width"), 10**9), r"no image of 1 to 64000000 pixels"),
        (
            changed(("image", "original_filename"), 5),
            r"image\.original_filename is 5: must be a text",
        ),
        (changed(("annotations",), {}), r"annotations is \{\}: must be a list"),
        (
            changed(("annotations", 1, "name"), ...),
            r"annotations\[1\]\.name is None: must be a text",
        ),
        (
            changed(("annotations", 0, "polygon"), ...),
            r"annotations\[0\] is a Lung without polygon .*; it has name",
        ),
        (
            changed(("annotations", 0, "polygon"), []),
            r"annotations\[0\]\.polygon is \[\]: must be an object",
        ),
        (
            changed(("annotations", 1, "polygon", "path"), ...),
            r"annotations\[1\]\.polygon\.path is None",
        ),
        (
            changed(("annotations", 1, "polygon", "path"), []),
            r"annotations\[1\]\.polygon, path 0 is \[\]: .* points",
        ),
        (
            changed(POINT, ...),
            r"annotations\[0\]\.polygon, path 0, point 1: x is None: must be a number",
        ),
        (changed(POINT, float("nan")), r"path 0, point 1: x is nan"),
        (
            changed(POINT, 1e9),
            r"path 0, point 1: x is 1000000000\.0: must be a number of pixels, 100000 at most",
        ),
        (changed(POINT, True), r"path 0, point 1: x is True"),
    ],
)
def test_a_field_that_makes_no_sense_is_an_error_with_file_and_field(tmp_path, content, message):
    with pytest.raises(ValueError, match=rf"7\.json: .*{message}"):
        darwin.read(write(tmp_path / "7.json", content))


def test_version_2_with_two_slots_is_an_error(tmp_path):
    content = document("7", "a.png", version=2)
    content["item"]["slots"] *= 2
    with pytest.raises(ValueError, match=r"7\.json: item\.slots has 2 entries: an X-ray has one"):
        darwin.read(write(tmp_path / "7.json", content))


@pytest.mark.parametrize("data", [b"", b'{"image": ', b"\xff\xfe{"])
def test_a_file_that_is_no_json_is_named(tmp_path, data):
    (tmp_path / "7.json").write_bytes(data)
    with pytest.raises(ValueError, match=r"7\.json: not JSON"):
        darwin.read(tmp_path / "7.json")


def test_a_semantic_mask_has_three_values_and_any_other_is_named(tmp_path):
    pixels = np.array([[0, 127, 255], [255, 0, 127]], np.uint8)
    (tmp_path / "good.png").write_bytes(builds.encode(pixels))
    np.testing.assert_array_equal(regions.read_semantic(tmp_path / "good.png"), pixels)
    pixels[0, 0], pixels[1, 1] = 1, 128
    (tmp_path / "bad.png").write_bytes(builds.encode(pixels))
    with pytest.raises(
        ValueError, match=r"bad\.png: has pixels of value 1, 128, which means nothing"
    ):
        regions.read_semantic(tmp_path / "bad.png")


def test_a_mask_of_three_channels_or_damaged_is_an_error(tmp_path):
    path = tmp_path / "1.png"
    path.write_bytes(builds.encode(np.zeros((4, 4, 3), np.uint8)))
    with pytest.raises(ValueError, match=r"1\.png: mode RGB: a semantic mask has 8 bits"):
        regions.read_semantic(path)
    noise = np.random.default_rng(0).choice(np.array([0, 127, 255], np.uint8), (64, 64))
    path.write_bytes(builds.encode(noise)[:300])
    with pytest.raises(ValueError, match=r"1\.png: damaged mask"):
        regions.read_semantic(path)


@pytest.mark.parametrize(
    "name, found",
    [
        *((name, "Lung") for name in ("Lung", "lung", "LUNG", "Lungs", "Left Lung", "lung_right")),
        *((name, "Lung") for name in ("LeftLung", "Lung (L)", "lungs-both", "Lung 2")),
        ("ignore", "Ignore"),
        *((name, None) for name in ("Heart", "Lung nodule", "Lunge", "")),
    ],
)
def test_a_class_is_known_in_any_capitals_plural_and_side(name, found):
    assert darwin.structure(name) == found


def test_a_class_that_may_be_a_lung_is_unclear(tmp_path):
    shapes = (*LUNGS, ("Lung field", square(1, 1, 2, 2)), ("Heart", square(1, 1, 2, 2)))
    found = darwin.read(write(tmp_path / "7.json", document("7", "a.png", shapes=shapes)))
    assert found.others == ("Lung field", "Heart") and found.unclear == ("Lung field",)
