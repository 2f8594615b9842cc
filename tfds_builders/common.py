"""Common parts of the X-ray builders: features, ids, options, the manual folder, images.

Nothing here imports TensorFlow or jaxcxr. Errors name the file and the fix.
"""

from __future__ import annotations

import collections
import dataclasses
import filecmp
import hashlib
import io
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

SPLIT = "main"  # TFDS reserves "all", which reads every split there is: both names read this one
MAX_PIXELS = 64_000_000  # Montgomery, the largest set, has 4892 x 4020; Pillow alone only warns
TEXTS = (
    "id",
    "patient_id",
    "strict_patient_id",
    "label",
    "finding",
    "view",
    "source",
    "age_group",
)
# 'APS' is the short form in the SCHEMA.md of the COVID-19 image data collection. Laterals ('L'), CT
# planes ('Axial', 'Coronal'), '?' and blanks are not here.
FRONTAL_VIEWS = {
    "pa": "PA",
    "pa erect": "PA",
    "ap": "AP",
    "ap supine": "AP Supine",
    "aps": "AP Supine",
    "ap erect": "AP Erect",
    "ap semi erect": "AP Semi Erect",
    "ap semierect": "AP Semi Erect",
}


def cxr_features(
    *, masks: Iterable[str] = (), extra: Mapping[str, tfds.features.FeatureConnector] | None = None
) -> tfds.features.FeaturesDict:
    """Features that every builder yields, plus `masks` ('mask_lung', ...) and `extra` ones.

    `image` takes encoded bytes and stores them untouched, grey or colour; TFDS cannot decode grey
    without a fixed number of channels, so read it with `tfds.decode.SkipDecoding()`. Masks are
    0/255 grey PNG, decoded to [H, W, 1]. The texts:
    `label` is a class of the study or '' (no class: see `finding`), `age_group` 'adult',
    'paediatric' or ''. `strict_patient_id` never tells apart two images that may be of one patient.
    """
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, None)),
            **{name: tfds.features.Text() for name in TEXTS},
            **{name: tfds.features.Image(shape=(None, None, 1)) for name in masks},
            **(extra or {}),
        }
    )


@dataclasses.dataclass(eq=False)
class ChoiceConfig(tfds.core.BuilderConfig):
    """A BuilderConfig whose `options` say what was chosen; its name spells them out."""

    options: dict[str, str] = dataclasses.field(default_factory=dict)


def all_configs(choices: Mapping[str, tuple[str, ...]]) -> list[ChoiceConfig]:
    """A config for every combination of `choices`; the default comes first."""
    configs = []
    for values in itertools.product(*choices.values()):
        options = dict(zip(choices, values, strict=True))
        name = "-".join(f"{key}_{value}" for key, value in options.items()) or "default"
        configs.append(ChoiceConfig(name=name, options=options))
    return configs


def find_config(configs: Sequence[ChoiceConfig], **options: str) -> ChoiceConfig:
    """The member of `configs` with `options`; those not given are as in the first config.

    TFDS wants the very object that its builder class lists, not an equal one.

    Raises:
        TypeError: an option is unknown; names the known ones.
        ValueError: a value is not among the choices.
    """
    defaults = configs[0].options
    for name, value in options.items():
        if name not in defaults:
            allowed = ", ".join(sorted(defaults)) or "none: this data set has no options"
            raise TypeError(f"unknown option {name!r}; known options: {allowed}")
        choices = list(dict.fromkeys(config.options[name] for config in configs))
        if value not in choices:
            raise ValueError(f"option {name}={value!r}: must be one of {', '.join(choices)}")
    requested = {**defaults, **options}
    return next(config for config in configs if config.options == requested)


def options_of(builder: tfds.core.DatasetBuilder) -> dict[str, str]:
    """The options that `builder` was configured with.

    Raises:
        TypeError: its config is not one of `all_configs`.
    """
    config = builder.builder_config
    if not isinstance(config, ChoiceConfig):
        raise TypeError(f"{builder.name}: {config!r} is not a config of this builder")
    return config.options


def safe_id(text: str) -> str:
    """`text` with every run of characters outside [A-Za-z0-9._-] replaced by one '_'."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)


def distinct_id(text: str, *, key: str | None = None) -> str:
    """`safe_id` made injective: a short hash distinguishes texts that `safe_id` would merge.

    Args:
        text: the text that the id shows.
        key: the text that is hashed, if not `text`: the same for equivalent spellings.
    """
    safe = safe_id(text)
    if safe == text:
        return text
    digest = hashlib.sha256(
        (text if key is None else key).encode(errors="surrogatepass")
    ).hexdigest()[:8]
    return "-".join(filter(None, (safe.strip("_"), digest)))


def unique_ids(file_names: Iterable[str], *, prefix: str) -> dict[str, str]:
    """Maps distinct file names to ids: the stem; where stems clash, the name and a short hash.

    An id depends on its own name and on whether another name has the same stem, never on order.
    """
    names = list(file_names)
    stems = {name: safe_id(Path(name).stem) for name in names}
    count = collections.Counter(stems.values())

    def make(name: str) -> str:
        if count[stems[name]] == 1:
            return f"{prefix}-{stems[name]}"
        return (
            f"{prefix}-{safe_id(name)}-"
            f"{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"
        )

    return {name: make(name) for name in names}


def age_group(age: str) -> str:
    """'adult' from 18 years on, 'paediatric' below, '' if `age` is not a plain number of years.

    Ages above 120, of which NIH's table has some, are errors: ''.
    """
    if not re.fullmatch(r"\d{1,3}(\.\d+)?", age.strip()) or float(age) > 120:
        return ""
    return "adult" if float(age) >= 18 else "paediatric"


def frontal_view(view: str) -> str | None:
    """A frontal view in canonical spelling ('PA', 'AP Supine', ...), None for all other views."""
    return FRONTAL_VIEWS.get(same_spelling(view))


def same_spelling(text: str) -> str:
    """`text` in small letters, with one blank for any blanks, '-' and '_' between words."""
    return " ".join(re.split(r"[\s_-]+", text.casefold())).strip()


def files_by_name(*folders: Path) -> dict[str, Path]:
    """The plain files of `folders` by name, the first of copies in several; no hidden ones.

    Raises:
        ValueError: files of one name in two folders that differ.
    """
    files: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()):
            if not path.is_file() or path.name.startswith("."):
                continue
            first = files.setdefault(path.name, path)
            if first is not path and not filecmp.cmp(first, path, shallow=False):
                raise ValueError(
                    f"{first} and {path} have one name, and their bytes differ: keep the right one"
                )
    return files


def files_by_stem(folder: Path) -> dict[str, Path]:
    """The plain files of `folder` by stem; no hidden ones.

    Raises:
        ValueError: two files have one stem.
    """
    files: dict[str, Path] = {}
    for path in files_by_name(folder).values():
        if path.stem in files:
            raise ValueError(f"{folder}: both {files[path.stem].name} and {path.name}: keep one")
        files[path.stem] = path
    return files


def manual_root(dl_manager: tfds.download.DownloadManager) -> Path | None:
    """The manual folder of TFDS (`DownloadConfig(manual_dir=...)`), None if absent or empty."""
    try:
        return Path(dl_manager.manual_dir)
    except AssertionError:  # how TFDS says it; the caller's own message shows the expected tree
        return None


def missing_data(name: str, problem: str, instructions: str) -> FileNotFoundError:
    """The error for data that are not where they should be: problem, tree, and how to pass it."""
    return FileNotFoundError(
        f"{name}: {problem}\n{instructions.strip()}\n"
        "Pass the folder that contains this tree as config.data.manual_dir, or in Python as "
        "tfds.download.DownloadConfig(manual_dir=...)."
    )


def require_manual(
    dl_manager: tfds.download.DownloadManager, *, name: str, paths: Iterable[str], instructions: str
) -> Path:
    """The manual folder, checked to have every one of `paths`.

    Raises:
        FileNotFoundError: shows what is missing and the tree that is expected.
    """
    root = manual_root(dl_manager)
    if root is None:
        raise missing_data(name, "the manual folder is not given, absent or empty.", instructions)
    missing = [path for path in paths if not (root / path).exists()]
    if missing:
        hints = [one_level_too_deep(root, instructions), spreadsheet(root / p for p in missing)]
        problem = " ".join(filter(None, [f"{root} lacks {', '.join(missing)}.", *hints]))
        raise missing_data(name, problem, instructions)
    return root


def one_level_too_deep(root: Path, instructions: str) -> str:
    """A sentence where the manual folder holds what belongs in a folder of it, else ''.

    Args:
        root: the manual folder.
        instructions: with the tree, whose folders are indented by two blanks, what is in them by
            four.
    """
    folder = ""
    for line in instructions.splitlines():
        if match := re.match(r"  (\S+)/", line):
            folder = match[1]
        elif folder and (match := re.match(r"    (\S.*?)(/|,| {2}|$)", line)):
            found = root / match[1]
            if found.exists() and not (root / folder).exists():
                place = (
                    f"give {root.parent} as the manual folder"
                    if root.name == folder
                    else f"make the folder {folder} and move it there"
                )
                return f"{match[1]} lies in {root} itself and must be in {root / folder}: {place}."
    return ""


def spreadsheet(tables: Iterable[Path]) -> str:
    """A sentence where a spreadsheet stands in place of a CSV file, else ''."""
    for table in tables:
        for suffix in (".xlsx", ".xls", ".ods"):
            if table.suffix == ".csv" and table.with_suffix(suffix).exists():
                return f"{table.with_suffix(suffix)} is there: save it as CSV, {table.name}."
    return ""


def open_image(path: Path) -> Image.Image:
    """Opens an image and checks its size; the caller decodes its pixels.

    Raises:
        ValueError: not an image, or more than `MAX_PIXELS`.
    """
    try:
        image = Image.open(path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read as an image ({error})") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: {error}") from error
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width} x {image.height}"
        raise ValueError(f"{path}: {size} pixels are more than the allowed {MAX_PIXELS}")
    return image


def png(pixels: np.ndarray) -> bytes:
    """Encodes [H, W] bool (as 0/255), uint8 or uint16, or [H, W, 3] uint8, as PNG, level 1."""
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
