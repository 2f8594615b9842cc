"""What an export says of itself: model.json and the header of model.safetensors."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from jaxcxr import data, exported
from jaxcxr.data import drawn
from jaxcxr.inference.predictor import Predictor
from jaxcxr.ops.convolution import platform_lowering
from jaxcxr.storage.files import sha256_file
from jaxcxr.storage.provenance import environment
from jaxcxr.storage.run_files import CONFIG
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.tasks import needs_lungs, network, segment, task_of
from jaxcxr.tasks.monitor import LAST


def metadata(config: ConfigDict, folder: RunFolder, predictor: Predictor) -> dict[str, str]:
    """What the weights' file says of itself; safetensors takes strings."""
    mean, std = normalisation(config)
    return {
        "format": "jaxcxr",
        "origin": config.name,
        "model": config.model.name,
        "classes": ",".join(_classes(config)),
        "mean": ",".join(map(str, mean)),
        "std": ",".join(map(str, std)),
        "config_sha256": sha256_file(folder.path / CONFIG),
        "note": _note(predictor),
    }


def _note(predictor: Predictor) -> str:
    """What every prediction says of itself."""
    return "; ".join([exported.NOTE, *[drawn.NOTE] * predictor.knows_drawn_only])


def spec(config: ConfigDict, folder: RunFolder, predictor: Predictor) -> dict[str, Any]:
    """model.json but for the files' hashes."""
    mean, std = normalisation(config)
    settings = data.Preprocessing.of(config.data)
    training = folder.read_json("training.json", {})
    is_needed = needs_lungs(config)
    return {
        "note": _note(predictor),
        "format": exported.FORMAT,
        "name": config.name,
        "task": config.task,
        "model": config.model.name,
        "classes": _classes(config),
        "preprocessing": {
            "fields": settings.to_json(),
            "steps": _preprocessing_steps(settings, is_needed),
        },
        "lungs": {
            "needed": is_needed,
            "on_empty": config.masks.on_empty,
            "structures": list(config.masks.structures),
            "ids": data.lung_ids(config.masks.structures),
            # What the masks of a segmenter show; a classifier has those of another export.
            "structure": "" if task_of(config).has_classes else segment.shown_structure(config),
        },
        "inputs": inputs(config),
        "output": output(config),
        "program": {
            "arguments": ["weights", *(argument["name"] for argument in inputs(config))],
            "steps": _program_steps(config, mean, std),
            "platforms": list(config.export.platforms),
            "convolutions": platform_lowering(),
        },
        "normalisation": {"mean": mean, "std": std},
        "run": {
            "config_sha256": sha256_file(folder.path / CONFIG),
            "seed": config.seed,
            "fold": config.split.fold,
            "step": training.get("best_step"),
            **(
                {} if config.train.monitor == LAST else {config.train.monitor: training.get("best")}
            ),
            # Used as they are; then there is no step and no score.
            **({"weights": predictor.weights} if predictor.weights else {}),
        },
        "versions": environment()["versions"],
    }


def inputs(config: ConfigDict) -> list[dict[str, Any]]:
    """The program's arrays after its weights; "b" is the batch."""
    shape = data.Preprocessing.of(config.data).shape
    images = _array(
        "images", "uint8", shape, "X-rays after the preprocessing, 0 black to 255 white, lungs dark"
    )
    if not needs_lungs(config) or not config.patches.enabled:
        return [images]
    return [
        images,
        _array("masks", "uint8", shape[:2], "1 in the lungs, 0 elsewhere, after the preprocessing"),
        _array(
            "seeds",
            "int32",
            (),
            "the seed of an image's patches: first 31 bits of the SHA-256 of its pixels",
        ),
    ]


def output(config: ConfigDict) -> dict[str, Any]:
    """What the program gives."""
    if task_of(config).has_classes:
        classes = _classes(config)
        return _array(
            "probabilities",
            "float32",
            (len(classes),),
            "of the classes in their order, 0 to 1, sum 1",
        )
    ids = ", ".join(
        f"{number} {name}" for number, name in enumerate(config.masks.structures, start=1)
    )
    shape = data.Preprocessing.of(config.data).shape[:2]
    return _array(
        "masks", "uint8", shape, f"the likeliest structure of each pixel: 0 background, {ids}"
    )


def _array(name: str, dtype: str, shape: tuple[int, ...], what: str) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": ["b", *shape], "what": what}


def _classes(config: ConfigDict) -> list[str]:
    return list(data.output_classes(config.data)) if task_of(config).has_classes else []


def normalisation(config: ConfigDict) -> tuple[list[float], list[float]]:
    """(mean, std) of pixels in [0, 1], one for all channels or one each."""
    is_segmenter = not task_of(config).has_classes
    mean, std = network.normalisation(config.model, segmenter=is_segmenter)
    return [float(str(value)) for value in mean.ravel()], [
        float(str(value)) for value in std.ravel()
    ]


_LUNGS = {
    "box": "cut to the box around the grown lungs",
    "pixels": "zero outside the grown lungs",
    "removed": "zero inside the grown lungs",
    "shape": "white lungs on black instead of the X-ray",
}


def _preprocessing_steps(settings: data.Preprocessing, has_lungs: bool) -> list[str]:
    """What happens to a file before the program, in words."""
    size = f"{settings.image_size} x {settings.image_size}"
    steps = [
        (
            "grey, 8 or 16 bits: colour as its luminance (ITU-R 601-2), transparency as black, no "
            "turning by EXIF"
        )
    ]
    if settings.lungs != "whole":
        steps.append(
            f"{_LUNGS[settings.lungs]} (data.lungs={settings.lungs}, "
            f"data.lung_margin={settings.lung_margin})"
        )
    if settings.equalise:
        steps.append(
            "equalised by the cumulative histogram at that depth: the darkest level is 0, the "
            "brightest 1"
        )
    else:
        steps.append(
            "8 bits divided by 255; 16 bits stretched from 0 to 1 over the range that hot pixels, "
            f"padding and burned-in text do not take ({exported.RUNNER}: _grey_range)"
        )
    if settings.gamma != 1:
        steps.append(f"to the power of {settings.gamma}")
    how = {
        "bilinear": "Pillow's bilinear filter",
        "bicubic": "Pillow's bicubic filter",
        "opencv_cubic": "OpenCV's INTER_CUBIC",
    }[settings.resize]
    steps.append(
        f"times 255, resized to {size} by {how} (the aspect is not kept), rounded to uint8"
    )
    if settings.match != "none":
        steps.append(
            f"given the histogram of {exported.REFERENCE} (scikit-image's match_histograms), "
            "rounded"
        )
    if settings.enhance:
        steps.append(
            f"enhanced, a channel each: {', '.join(settings.enhance)} (jaxcxr.data.contrast)"
        )
    if settings.form != "sound":
        steps.append("resized, matched and enhanced as published: data.form of jaxcxr")
    if any(settings.cut):
        steps.append(
            "cut at top, left, bottom and right by {} pixels".format(
                ", ".join(map(str, settings.cut))
            )
        )
    if has_lungs:
        steps.append(
            f"lung mask: 1 in the lungs, resized to {size} by nearest neighbour and cut likewise"
        )
    return steps


def _program_steps(config: ConfigDict, mean: list[float], std: list[float]) -> list[str]:
    """What the program does, in words."""
    m, normalised = config.model, f"divided by 255, minus {mean}, divided by {std}"
    if not task_of(config).has_classes:
        found = (
            f"structures above a probability of {config.predict.threshold}, of several the "
            "likeliest"
        )
        steps = [normalised, m.name, found if m.outputs == "sigmoid" else "the likeliest structure"]
        if largest := config.predict.largest_pieces:
            pieces = "piece" if largest == 1 else f"{largest} connected pieces"
            steps.append(f"the largest {pieces} of each structure")
        return steps
    p, steps = config.patches, []
    if p.enabled:
        if p.apply_mask:
            steps.append("zero outside the lungs")
        where = "around random pixels of the lungs"
        steps.append(f"{p.eval_count} patches of {p.size} x {p.size} pixels {where}")
    elif p.size:
        steps.append(f"the middle {p.size} x {p.size} pixels")
    if m.input_size and m.input_size != p.size:
        steps.append(f"resized to {m.input_size} x {m.input_size}, bilinear")
    if len(config.data.enhance) < 2:
        steps.append(f"the grey repeated in {m.in_channels} channels")
    logits = "logits (0, z)" if m.outputs == "sigmoid" else "logits"
    opinion = (
        f"{p.aggregate} of the patches' {logits}" if p.enabled else f"{p.aggregate} of the {logits}"
    )
    return [*steps, normalised, m.name, f"{opinion}, divided by its sum"]
