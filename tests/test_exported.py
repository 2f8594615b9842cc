"""The runner of exported models does what the project does, without it; what it reads it checks."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from jaxcxr import exported
from jaxcxr.data import decoding, preprocessing
from jaxcxr.data.preprocessing import Preprocessing
from jaxcxr.errors import InputError
from jaxcxr.exported import Model
from jaxcxr.ops.enhance import equalisation_lut
from tests.faults.trials.weights import export_of_one_product


def xray(dtype=np.uint8, shape=(57, 83)) -> np.ndarray:
    """A smooth image with noise, of part of the levels: [*shape]."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    smooth = (
        np.sin(rows / 9) + np.cos(columns / 13) + np.random.default_rng(0).normal(0, 0.2, shape)
    )
    levels = np.iinfo(dtype).max
    return (levels * (0.1 + 0.7 * (smooth - smooth.min()) / np.ptp(smooth))).astype(dtype)


def lungs(shape=(57, 83)) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[12:40, 10:30] = mask[14:41, 50:75] = 1
    return mask


def model(
    folder: Path = Path("export"), *, needs_lungs: bool = False, on_empty: str = "error", **fields
) -> Model:
    """A model with this preprocessing, as model.json has it, and no program."""
    settings = Preprocessing(**{"image_size": 32, "equalise": True, "gamma": 1.0, **fields})
    spec = {
        "preprocessing": {
            "fields": json.loads(json.dumps(settings.to_json())),
            "steps": ["told in words"],
        },
        "lungs": {"needed": needs_lungs, "on_empty": on_empty, "ids": [1]},
    }
    return Model(folder, spec, {}, lambda *_: None)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("equalise", [True, False])
@pytest.mark.parametrize(
    ("gamma", "cut", "size"), [(1.0, (0, 0, 0, 0), 32), (0.5, (3, 2, 0, 5), 90)]
)
def test_images_and_masks_are_prepared_as_by_the_project(dtype, equalise, gamma, cut, size):
    settings = Preprocessing(image_size=size, equalise=equalise, gamma=gamma, cut=cut)
    image, mask = exported.prepare(xray(dtype), lungs(), settings.to_json())
    expected = preprocessing.prepare(xray(dtype), lungs(), settings, name="x")
    np.testing.assert_array_equal(image, expected.image)
    np.testing.assert_array_equal(mask, expected.mask)
    assert image.dtype == np.uint8 and len(np.unique(image)) > 50


@pytest.mark.parametrize("gamma", [1.0, 0.5])
def test_ranges_that_are_not_the_x_rays_are_left_out_as_by_the_project(gamma):
    settings = Preprocessing(image_size=32, equalise=False, gamma=gamma)
    pixels = xray(np.uint16) // 16 + 20000
    pixels[:, :9], pixels[3, 40:43] = 0, (65535, 61000, 30000)
    image, _ = exported.prepare(pixels, None, settings.to_json())
    np.testing.assert_array_equal(
        image, preprocessing.prepare(pixels, None, settings, name="x").image
    )


@pytest.mark.parametrize("seed", range(8))
def test_levels_are_equalised_to_the_last_bit(seed):
    rng = np.random.default_rng(seed)
    pixels = (
        rng.normal(120, rng.uniform(5, 60), rng.integers(20, 400, 2)).clip(0, 255).astype(np.uint8)
    )
    lut = equalisation_lut(np.bincount(pixels.ravel(), minlength=256))
    np.testing.assert_array_equal(exported._levels(pixels, equalise=True), np.asarray(lut))


@pytest.mark.parametrize("level", [0, 7, 255])
def test_an_image_of_one_level_is_prepared_likewise(level):
    flat = np.full((40, 50), level, np.uint8)
    settings = Preprocessing(image_size=32, equalise=True, gamma=0.5)
    expected = preprocessing.prepare(flat, None, settings, name="x").image
    np.testing.assert_array_equal(exported.prepare(flat, None, settings.to_json())[0], expected)


@pytest.mark.parametrize(
    "fields",
    [
        {"enhance": ("beasf", "clahe", "original"), "resize": "opencv_cubic", "equalise": False},
        {"lungs": "box", "lung_margin": 10},
        {"lungs": "pixels"},
        {"lungs": "removed"},
        {"lungs": "shape"},
    ],
    ids=["enhanced", "box", "pixels", "removed", "shape"],
)
def test_enhancements_and_crops_are_made_by_the_project(fields):
    needs_lungs = "lungs" in fields
    image, _ = model(needs_lungs=needs_lungs, **fields).preprocess(xray(), lungs() > 0)
    settings = Preprocessing(**{"image_size": 32, "equalise": True, "gamma": 1.0, **fields})
    mask = lungs() if needs_lungs else None
    np.testing.assert_array_equal(
        image, preprocessing.prepare(xray(), mask, settings, name="x").image
    )


def test_histograms_are_matched_to_the_picture_beside_the_model(tmp_path):
    reference = xray(shape=(32, 32)) // 2
    Image.fromarray(reference).save(tmp_path / "reference.png")
    image, _ = model(tmp_path, match="first").preprocess(xray())
    settings = Preprocessing(image_size=32, equalise=True, gamma=1.0, match="first")
    expected = preprocessing.prepare(xray(), None, settings, name="x", reference=reference).image
    np.testing.assert_array_equal(image, expected)


def test_what_the_project_must_prepare_is_told_without_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jaxcxr.data", None)
    assert model().preprocess(xray())[0].shape == (32, 32)
    with pytest.raises(InputError, match="needs jaxcxr to prepare its images .*told in words"):
        model(enhance=("clahe",)).preprocess(xray())


def test_a_model_that_looks_at_lungs_needs_some():
    nothing = np.zeros((57, 83), bool)
    with pytest.raises(
        InputError, match="looks at lungs: name an exported segmenter, --lungs EXPORT"
    ):
        model(needs_lungs=True).preprocess(xray())
    with pytest.raises(InputError, match="no lungs found"):
        model(needs_lungs=True).preprocess(xray(), nothing)
    mask = model(needs_lungs=True, on_empty="whole_image").preprocess(xray(), nothing)[1]
    assert mask is not None and mask.all()
    assert model().preprocess(xray(), nothing)[1] is None


def test_a_seed_is_of_the_pixels_alone():
    for image in (xray(), xray()[:, ::2], np.stack([xray()] * 3, axis=-1)):
        expected = int(hashlib.sha256(image.tobytes()).hexdigest()[:8], 16) // 2
        assert exported.seed_of(image) == expected < 2**31
    assert exported.seed_of(xray()) != exported.seed_of(xray()[::-1])


def pictures() -> dict[str, bytes]:
    """name -> file, of every kind of pixels that Pillow tells apart and we read."""
    grey, wide = Image.fromarray(xray()), Image.fromarray(xray(np.uint16))
    colour = Image.merge("RGB", (grey, grey.point(lambda v: 255 - v), grey.point(lambda v: v // 2)))
    clear = colour.convert("RGBA")
    clear.putalpha(Image.fromarray(lungs() * 200))
    modes = {
        "grey.png": grey, "wide.png": wide, "wide.tif": wide, "colour.jpg": colour,
        "clear.png": clear, "palette.gif": colour.convert("P"),
        "black_white.png": grey.convert("1"), "cmyk.jpg": colour.convert("CMYK"),
        "grey_clear.png": clear.convert("LA"), "grey.bmp": grey,
    }  # fmt: skip
    encoded = {}
    for name, picture in modes.items():
        buffer = io.BytesIO()
        picture.save(buffer, {"jpg": "JPEG", "tif": "TIFF"}.get(name[-3:], name[-3:].upper()))
        encoded[name] = buffer.getvalue()
    buffer = io.BytesIO()
    wide.save(buffer, "TIFF", tiffinfo={262: 0})  # 0 is white
    return {**encoded, "negative.tif": buffer.getvalue()}


@pytest.mark.parametrize("name", sorted(pictures()))
def test_files_are_read_as_by_the_project(name, tmp_path):
    encoded = pictures()[name]
    (tmp_path / name).write_bytes(encoded)
    found, expected = exported.read_image(tmp_path / name), decoding.decode_grey(encoded, name)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "cut.png").write_bytes(pictures()["grey.png"][:200])
    (tmp_path / "text.dcm").write_text("DICM")
    with pytest.raises(InputError, match=r"cut\.png is unreadable"):
        exported.read_image(tmp_path / "cut.png")
    with pytest.raises(InputError, match=r"text\.dcm is no PNG.* picture; jaxcxr reads DICOM too"):
        exported.read_image(tmp_path / "text.dcm")
    with pytest.raises(InputError, match=r"none\.png cannot be opened: No such file"):
        exported.read_image(tmp_path / "none.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(InputError, match=r"empty\.png is empty$"):
        exported.read_image(tmp_path / "empty.png")
    Image.fromarray(np.ones((9, 9), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(InputError, match="32-bit values"):
        exported.read_image(tmp_path / "float.tif")


def test_files_of_which_pillow_would_lose_something_are_refused(tmp_path):
    colours = np.repeat(xray(np.uint16)[..., None], 3, axis=-1)
    cv2.imwrite(str(tmp_path / "wide.png"), colours)
    cv2.imwrite(str(tmp_path / "wide.tif"), colours)
    for name in ("wide.png", "wide.tif"):
        with pytest.raises(
            InputError, match="colours of 16 bits, of which 8 would be left: save it as grey"
        ):
            exported.read_image(tmp_path / name)
        decoded = decoding.decode_grey((tmp_path / name).read_bytes(), name)
        np.testing.assert_array_equal(decoded, xray(np.uint16))
    Image.fromarray(xray()).save(tmp_path / "turned.tif", tiffinfo={0x112: 6})
    with pytest.raises(InputError, match="asks viewers to turn it: save it the way it is stored"):
        exported.read_image(tmp_path / "turned.tif")


def test_an_image_beyond_the_limit_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    (tmp_path / "large.png").write_bytes(pictures()["grey.png"])
    monkeypatch.setattr(exported, "MAX_PIXELS", 57 * 83 - 1)
    with pytest.raises(
        InputError, match=r"large\.png is 83x57 pixels, more than the 4,730 allowed"
    ):
        exported.read_image(tmp_path / "large.png")


@pytest.fixture
def folder(tmp_path):
    export_of_one_product(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("field", "value"),
    [("gamma", 3.0), ("equalise", True), ("classes", ["b", "a"]), ("threshold", 1)],
)
def test_what_model_json_says_is_compared_with_its_hash(folder, field, value):
    path = folder / exported.SPEC
    spec = json.loads(path.read_text())
    path.write_text(json.dumps(spec, sort_keys=True))  # written in another way it says the same
    Model.open(folder)
    fields = spec["preprocessing"]["fields"]
    (fields if field in fields else spec)[field] = value
    path.write_text(json.dumps(spec))
    with pytest.raises(InputError, match=r"model\.json is damaged or was changed: its SHA-256"):
        Model.open(folder)


def test_an_export_from_before_that_hash_is_read(folder):
    path = folder / exported.SPEC
    spec = json.loads(path.read_text())
    del spec["sha256"]
    path.write_text(json.dumps(spec))
    Model.open(folder)


@pytest.mark.parametrize("name", [exported.WEIGHTS, exported.PROGRAM])
def test_a_file_without_its_hash_is_not_opened(folder, name):
    path = folder / exported.SPEC
    spec = json.loads(path.read_text())
    del spec["files"][name]
    path.write_text(json.dumps(spec))
    with pytest.raises(InputError, match=rf"model\.json is damaged \(KeyError: '{name}'\)"):
        Model.open(folder)


@pytest.mark.parametrize(
    "text", ["[]", "3", "{", '{"format": 1}', '{"format": 1, "classes": {}}', "[" * 10**5]
)
def test_what_is_no_model_json_is_one_line(folder, text, capsys):
    (folder / exported.SPEC).write_text(text)
    assert exported.main([str(folder), "image.png"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and "model.json is damaged" in said


def test_a_changed_runner_does_not_run_as_the_exports_own(folder):
    runner = folder / exported.RUNNER
    text = Path(exported.__file__).read_text()
    spec = json.loads((folder / exported.SPEC).read_text())
    spec["files"][exported.RUNNER] = {"sha256": hashlib.sha256(text.encode()).hexdigest()}
    spec["sha256"] = exported.spec_hash(spec)
    (folder / exported.SPEC).write_text(json.dumps(spec))

    def run(path: Path) -> int:
        own = importlib.util.module_from_spec(
            found := importlib.util.spec_from_file_location("own", path)
        )
        sys.modules["own"] = own  # dataclasses look there
        found.loader.exec_module(own)
        Image.fromarray(xray()).save(folder / "image.png")
        return own.main([str(folder), str(folder / "image.png")])

    runner.write_text(text)
    assert run(runner) == 0
    runner.write_text(text.replace("MAX_PIXELS = 64", "MAX_PIXELS = 65"))
    assert run(runner) == 1
    Model.open(folder)  # by the project it is not needed
    assert run(runner.rename(folder / "mine.py")) == 0


def test_an_error_of_one_image_does_not_end_those_of_the_folder_beside_it(
    folder, capsys, monkeypatch
):
    Image.fromarray(xray()).save(folder / "a.png")
    plain = Model.preprocess

    def fails(self, pixels, lungs=None):
        fails.count += 1
        if fails.count == 2:
            raise MemoryError("<object at 0x7f0123456789>")
        return plain(self, pixels, lungs)

    fails.count = 0
    monkeypatch.setattr(Model, "preprocess", fails)
    (folder / "in").mkdir()
    for name in (".hidden", "b.png", "c.png"):
        (folder / "in" / name).write_bytes((folder / "a.png").read_bytes())
    assert exported.main([str(folder), str(folder / "a.png"), str(folder / "in")]) == 1
    said = capsys.readouterr()
    assert [line.split(",")[0][-5:] for line in said.out.splitlines()[1:]] == ["a.png", "c.png"]
    assert "b.png: MemoryError" in said.err and "0x7f" not in said.err and said.err.count("\n") == 1


def test_weights_are_read_as_by_safetensors(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in [("a/kernel", (3, 1, 2)), ("b", ())]
    }
    save_file(arrays, tmp_path / "weights.safetensors", metadata={"note": "x"})
    found = exported.read_safetensors(tmp_path / "weights.safetensors")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    save_file({"n": np.ones(2, np.int32)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="n is I32"):
        exported.read_safetensors(tmp_path / "other.safetensors")
