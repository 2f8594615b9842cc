"""Figures of the reports and of TensorBoard.

Every function returns a Matplotlib `Figure` drawn on its own Agg canvas: no pyplot, no display, no
state shared between figures or threads. `to_png` turns a figure into a file's bytes, `to_array`
into the uint8 image [H, W, 3] that TensorBoard takes.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which stay apart for
colour-blind readers; a line or a bar is never told by its colour alone where a label fits.
"""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from jaxcxr.storage.files import encode_png

BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442",
)  # fmt: skip
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION)
INK, MUTED, RULE = "#222222", "#666666", "#D9D9D9"
_FRACTION = LinearSegmentedColormap.from_list("share", ("#FFFFFF", "#9EC9E2", "#0B559F"))

# By the names in files and by those that are shown.
_SPLIT_COLOURS = {"train": ORANGE, "valid": BLUE, "oof": GREEN, "test": PURPLE}
_SPLIT_COLOURS |= {"training": ORANGE, "validation": BLUE, "out-of-fold": GREEN}
_SPLIT_COLOURS |= {"cross-validation": GREEN}
# Without the patches' orange.
_OUTLINE_COLOURS = (SKY, VERMILION, GREEN, PURPLE, YELLOW)
_VARIANT_COLOURS = {"whole image": SKY, "patched": VERMILION}
_SCORE_WORDS = ("f1", "accuracy", "jaccard", "dice", "auc", "precision", "recall")
_TICK = 14  # letters below a cluster of bars: EfficientNet-Lite0 is broken at its hyphen
_MOST_LINES = len(COLOURS)
_MOST_TICKS = 8
_MARKS = "os^Dvx"
_TITLES = {
    "train": "training",
    "valid": "validation",
    "f1": "F1",
    "auc": "AUC",
    "jaccard": "Jaccard",
    "dice": "Dice",
}


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG; equal figures give equal bytes (no date, no version inside)."""
    return encode_png(to_array(figure))


def to_array(figure: Figure) -> np.ndarray:
    """The figure as uint8 [H, W, 3]."""
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        # Laid out once: Matplotlib would move things a little with every drawing.
        engine.execute(figure)
        figure.set_layout_engine("none")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def confusion_matrix(
    counts: np.ndarray, classes: Sequence[str], *, title: str = "Confusion matrix"
) -> Figure:
    """Reference classes in rows, predicted ones in columns; cells show count and row proportion.

    Args:
        counts: [C, C] whole numbers, `counts[true, predicted]`.
        classes: the C class names as they should be shown.
        title: stands above the matrix.
    """
    counts = np.asarray(counts)
    num_classes = len(classes)
    if counts.shape != (num_classes, num_classes):
        raise ValueError(f"counts have shape {counts.shape}, but there are {num_classes} classes")
    support = counts.sum(axis=1, keepdims=True)
    fraction = np.divide(counts, support, out=np.zeros(counts.shape), where=support > 0)

    side = 0.85 * num_classes
    names = 0.075 * max(9, *map(len, classes))  # inches that the longest row label takes
    figure, axes = _figure(side + names + 2.0, side + 1.6, title)
    image = axes.imshow(fraction, cmap=_FRACTION, vmin=0.0, vmax=1.0)
    for true in range(num_classes):
        for predicted in range(num_classes):
            colour = "white" if fraction[true, predicted] > 0.65 else INK
            axes.text(
                predicted, true - 0.12, f"{round(counts[true, predicted]):,}",
                ha="center", va="center", color=colour, fontsize=12,
            )  # fmt: skip
            if support[true, 0]:
                axes.text(
                    predicted, true + 0.2, f"{100 * fraction[true, predicted]:.0f} %",
                    ha="center", va="center", color=colour, fontsize=8.5,
                )  # fmt: skip
    axes.set_xticks(
        range(num_classes), classes, rotation=30, ha="right", va="top", rotation_mode="anchor"
    )
    axes.set_yticks(
        range(num_classes),
        [f"{n}\n(n = {int(s):,})" for n, s in zip(classes, support[:, 0], strict=True)],
    )
    axes.set_xlabel("Predicted class")
    axes.set_ylabel("Reference standard")
    axes.set_xticks(np.arange(num_classes + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(num_classes + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=RULE, linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, format=PercentFormatter(1.0))
    bar.set_label("Proportion of the reference class", color=INK, fontsize=9)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.ax.tick_params(labelsize=8, colors=MUTED, length=0)
    return figure


def curves(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str = "Training",
    steps_per_epoch: int = 0,
    classes: int = 0,
) -> Figure:
    """Loss, scores and learning rate over the steps, one panel for each kind that was logged.

    A key's last word tells the panel (`loss`; `f1`, `accuracy`, `jaccard`, ...; `learning_rate`),
    what stands before its first slash the split, which has one colour in all panels; its lines in a
    panel differ by dashes, marks and paleness. A mean over one class is drawn once. At most six
    lines a panel, the averages over classes first; the panel's label says where there were more.

    Args:
        rows: what `metric_writer.read_metrics` returns: dicts with `step` and numbers.
        title: stands above the panels.
        steps_per_epoch: stands below the axes; 0: unknown.
        classes: C, of a classifier, whose loss at equal probabilities, ln C, is drawn; 0: none.
    """
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        for key, value in row.items():
            if key == "step" or not isinstance(value, (int, float)):  # null: was not finite
                continue
            steps, values = lines.setdefault(key, ([], []))
            steps.append(float(row["step"]))
            values.append(float(value))
    panels = {
        "Loss": [key for key in lines if "loss" in key],
        "Score": [key for key in lines if _is_score(key)],
        "Learning rate": [key for key in lines if key.split("/")[-1] in ("learning_rate", "lr")],
    }
    panels = {name: sorted(keys, key=_by_importance) for name, keys in panels.items() if keys}
    if not panels:
        raise ValueError("no row holds a loss, a score or a learning rate: nothing to draw")

    evaluated = sorted(
        {step for key in lines if key.startswith("valid/") for step in lines[key][0]}
    )
    figure = canvas(4.2 * len(panels) + 0.4, 3.4)
    figure.suptitle(title, fontsize=12, color=INK)
    for axes, (name, keys) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        tidy(axes)
        keys = [key for key in keys if not _repeats(key, keys, lines)]
        shown = keys[:_MOST_LINES]
        lines_of: dict[str, int] = {}
        for key in shown:
            split = key.split("/")[0]
            nth = lines_of[split] = lines_of.get(split, -1) + 1
            steps, values = lines[key]
            colour = _SPLIT_COLOURS.get(split, COLOURS[len(lines_of) % len(COLOURS)])
            # The first line in full colour, further ones paler.
            pale = tuple(1 - (1 - c) * (1 - 0.12 * nth) for c in to_rgb(colour))
            axes.plot(
                steps,
                values,
                color=pale,
                linestyle=("-", "--", ":", "-.")[nth % 4],
                linewidth=1.6,
                marker=_MARKS[nth % len(_MARKS)] if len(steps) <= 25 else None,
                markersize=3.5,
                label=_line_title(key),
            )
        if name == "Loss" and classes > 1:
            level = math.log(classes)
            axes.axhline(
                level, color=RULE, linewidth=1.2, label=f"equal probabilities: {level:.2f}"
            )
        left_out = f" ({len(shown)} of {len(keys)} lines)" if len(keys) > len(shown) else ""
        axes.set_ylabel(name + left_out)
        axes.set_xlabel(f"Step ({steps_per_epoch:,} an epoch)" if steps_per_epoch else "Step")
        if 1 < len(evaluated) <= _MOST_TICKS:
            axes.set_xticks(evaluated)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if name == "Learning rate":
            rates = lines[shown[0]][1]
            # Cosine ends at 0.
            axes.set_yscale("log" if min(rates) > 1e-4 * max(rates) else "linear")
        elif name == "Score":
            axes.set_ylim(0.0, 1.02)
        elif all(v > 0 for k in shown for v in lines[k][1]):
            axes.set_ylim(bottom=0.0)
        if name != "Learning rate" or len(shown) > 1:
            axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


def class_counts(
    counts: Mapping[str, Mapping[str, int]],
    *,
    group: str = "split",
    title: str = "Class distribution",
) -> Figure:
    """Class distribution of each group: one cluster of bars per class, one bar per group.

    Args:
        counts: group (a split or a source) -> class as it should be shown -> number of images.
        group: what the groups are; the legend's title.
        title: stands above the bars.
    """
    groups = list(counts)
    classes = list(dict.fromkeys(name for row in counts.values() for name in row))
    figure, axes = _figure(2.2 + max(4.0, 0.45 * len(classes) * (len(groups) + 0.8)), 3.4, title)
    width = 0.8 / max(1, len(groups))
    for number, name in enumerate(groups):
        heights = [int(counts[name].get(label, 0)) for label in classes]
        positions = np.arange(len(classes)) + (number - (len(groups) - 1) / 2) * width
        bars = axes.bar(
            positions, heights, width * 0.92, label=name,
            color=_SPLIT_COLOURS.get(name, COLOURS[number % len(COLOURS)]),
        )  # fmt: skip
        labels = [f"{h:,}" if h else "" for h in heights]
        axes.bar_label(bars, labels, fontsize=8, color=MUTED, padding=1)
    axes.set_xticks(range(len(classes)), [name.replace(" ", "\n") for name in classes])
    axes.tick_params(axis="x", length=0, labelsize=10)
    axes.set_ylabel("Images")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.margins(y=0.12)
    axes.legend(
        title=group, frameon=False, fontsize=9, title_fontsize=9,
        loc="upper left", bbox_to_anchor=(1.0, 1.0),
    )  # fmt: skip
    return figure


def mask_overlay(
    image: np.ndarray,
    mask: np.ndarray | None,
    *,
    boxes: Sequence[Sequence[int]] | np.ndarray = (),
    structures: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """The image with the outlines of the mask and the boxes of its patches.

    Args:
        image: [H, W] grey values, uint8, uint16 or float; shown from its least to its greatest.
        mask: [H, W], every pixel above zero belongs to the lungs, or to the structure of its id;
            None draws no outline.
        boxes: [K, 3] rows of (top, left, side) in pixels.
        structures: names of the ids 1, 2, ..., each of which gets an outline of its own; (): the
            mask is one of lungs.
        title: stands above the image.
    """
    image = np.asarray(image)
    ids = np.zeros(image.shape, np.uint8) if mask is None else np.asarray(mask)
    if image.ndim != 2 or image.shape != ids.shape:
        raise ValueError(f"image {image.shape} and mask {ids.shape} must both be [H, W]")
    regions = {name: ids == number for number, name in enumerate(structures, start=1)}
    regions = regions or {"lung": ids > 0}
    height, width = image.shape
    long_side = 5.2 / max(height, width)
    figure, axes = _figure(width * long_side, height * long_side + 0.7, title)
    axes.imshow(image, cmap="gray", interpolation="nearest")
    parts = []
    for number, (name, region) in enumerate(regions.items()):
        if region.any() and not region.all():
            colour = _OUTLINE_COLOURS[number % len(_OUTLINE_COLOURS)]
            axes.contour(region, levels=[0.5], colors=[colour], linewidths=1.8)
            parts.append((colour, f"{name.replace('_', ' ')} outline"))
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 3)
    alpha = 0.95 if len(boxes) <= 12 else 0.45
    for top, left, side in boxes:
        style = {"fill": False, "edgecolor": ORANGE, "linewidth": 1.2, "alpha": alpha}
        axes.add_patch(Rectangle((left - 0.5, top - 0.5), side, side, **style))
    hide_ticks(axes)
    parts += [(ORANGE, f"{len(boxes)} patches")] * bool(len(boxes))
    if not parts:
        return figure
    figure.legend(
        handles=[Rectangle((0, 0), 1, 1, fill=False, edgecolor=c, linewidth=1.8) for c, _ in parts],
        labels=[label for _, label in parts],
        loc="outside lower center",
        ncols=len(parts),
        frameon=False,
        fontsize=9,
    )
    return figure


def class_samples(
    images: Mapping[str, np.ndarray], *, title: str = "Training images by class"
) -> Figure:
    """A row of images for each class, on one grey scale.

    Args:
        images: class as it should be shown -> [n, H, W] grey values; n >= 1 may differ, H and W may
            not.
        title: stands above the rows.
    """
    columns = max((len(row) for row in images.values()), default=0)
    shapes = {np.shape(row)[1:] for row in images.values()}
    if not columns or len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise ValueError(f"images of a class must be [n, H, W] of one size, not {sorted(shapes)}")
    [(height, width)] = shapes
    gap = max(1, width // 24)
    sheet = np.full((len(images) * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for row, pictures in enumerate(images.values()):
        for column, picture in enumerate(pictures):
            top, left = row * (height + gap), column * (width + gap)
            sheet[top : top + height, left : left + width] = picture
    scale = 1.2 / width  # inches a pixel
    names = 0.075 * max(map(len, images))
    figure, axes = _figure(sheet.shape[1] * scale + names, sheet.shape[0] * scale + 0.4, title)
    axes.imshow(sheet, cmap="gray", interpolation="nearest")
    hide_ticks(axes)
    axes.set_yticks(np.arange(len(images)) * (height + gap) + height / 2, list(images), fontsize=9)
    axes.tick_params(axis="y", length=0)
    return figure


def learners(
    scores: Mapping[str, Mapping[str, tuple[float, float | None]]],
    *,
    published: Mapping[str, Mapping[str, float]] | None = None,
    title: str = "Macro-F1 on the test images",
) -> Figure:
    """One cluster of bars per learner, one bar per variant, with the std over folds as error bar.

    Args:
        scores: variant (`whole image`, `patched`) -> learner as it should be shown -> (mean, std);
            std None, as with one fold, draws no error bar.
        published: the same keys -> the published mean, drawn as a diamond on the bar.
        title: stands above the bars.
    """
    variants = list(scores)
    names = list(dict.fromkeys(name for row in scores.values() for name in row))
    figure, axes = _figure(1.5 + max(4.0, 1.25 * len(names)), 3.8, title)
    width = 0.76 / max(1, len(variants))
    diamond = None
    for number, variant in enumerate(variants):
        shift = (number - (len(variants) - 1) / 2) * width
        positions = [names.index(name) + shift for name in scores[variant]]
        means = [mean for mean, _ in scores[variant].values()]
        stds = [std or 0.0 for _, std in scores[variant].values()]
        colour = _VARIANT_COLOURS.get(variant, COLOURS[number % len(COLOURS)])
        axes.bar(positions, means, width * 0.92, label=variant, color=colour)
        for position, mean, std in zip(positions, means, stds, strict=True):
            if std:
                axes.errorbar(position, mean, yerr=std, color=INK, capsize=3, linewidth=1.1)
            axes.text(
                position,
                0.02,
                f"{mean:.3f}",
                ha="center",
                va="bottom",
                fontsize=8,
                color=INK,
                rotation=90 * (len(variants) > 1),  # bars beside each other are narrow
            )
        marks = [
            (names.index(name) + shift, value)
            for name, value in (published or {}).get(variant, {}).items()
            if name in scores[variant]
        ]
        if marks:
            diamond = axes.scatter(
                *zip(*marks, strict=True),
                marker="D",
                s=34,
                facecolor="white",
                edgecolor=INK,
                zorder=4,
            )
    if diamond is not None:
        diamond.set_label("published")
    labels = [
        name.replace(" ", "\n", 1)
        if " " in name
        else textwrap.fill(name, _TICK, break_long_words=False)
        for name in names
    ]
    axes.set_xticks(range(len(names)), labels)
    axes.tick_params(axis="x", length=0)
    middle, half = (len(names) - 1) / 2, max(len(names), 3) / 2  # a lone bar stays slim
    axes.set_xlim(middle - half, middle + half)
    axes.set_ylim(0.0, 1.06)
    axes.set_yticks(np.linspace(0.0, 1.0, 6))
    axes.set_ylabel("Macro-F1")
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def drawable(text: str) -> str:
    """`text`, with a box for what the font has no glyph for.

    Matplotlib would warn of each at every drawing.
    """
    glyphs = _glyphs()
    return "".join(c if c == "\n" or ord(c) in glyphs else "\N{WHITE SQUARE}" for c in text)


@functools.cache
def _glyphs() -> frozenset[int]:
    path = font_manager.findfont(font_manager.FontProperties())
    return frozenset(font_manager.get_font(path).get_charmap())


def canvas(width: float, height: float) -> Figure:
    """An empty figure of the given size in inches."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(width, height), dpi=120, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def _figure(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    # Half an inch stays at each side, for axes are seldom in the middle; a letter takes about 0.08
    # inches.
    most = int((width - 1) / 0.08)
    lines = [part for line in drawable(title).splitlines() for part in textwrap.wrap(line, most)]
    figure = canvas(width, height + 0.2 * max(0, len(lines) - 1))
    axes = figure.add_subplot()
    tidy(axes)
    if title:
        axes.set_title("\n".join(lines), fontsize=11.5, color=INK, pad=8, parse_math=False)
    return figure, axes


def tidy(axes: Axes) -> None:
    """The look of every chart: no frame at the top and right, thin grey axes."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(colors=INK, labelsize=9, color=RULE)
    axes.xaxis.label.set(color=MUTED, fontsize=9.5)
    axes.yaxis.label.set(color=MUTED, fontsize=9.5)


def hide_ticks(axes: Axes) -> None:
    """Axes for a picture: no ticks, no frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _line_title(key: str) -> str:
    """'Validation macro-F1' of `valid/macro_f1`."""
    if key == "train/accuracy":
        return "Training accuracy, of the batches"  # augmented, while the weights change
    split, _, rest = key.rpartition("/")
    words = [_TITLES.get(word, word) for word in (*split.split("/"), *rest.split("_")) if word]
    title = " ".join(words).replace("macro F1", "macro-F1")
    return title[:1].upper() + title[1:]


def _is_score(key: str) -> bool:
    return "loss" not in key and any(word in key for word in _SCORE_WORDS)


def _repeats(
    key: str, keys: Sequence[str], lines: Mapping[str, tuple[list[float], list[float]]]
) -> bool:
    """Returns whether the key repeats another's values, as `valid/jaccard_lung` `valid/jaccard`."""
    return any(key != k and key.startswith(k) and lines[key] == lines[k] for k in keys)


def _by_importance(key: str) -> tuple[bool, bool, str]:
    averages = ("loss", "macro", "mean", "accuracy", "jaccard")
    return "smoothed" in key, not any(word in key for word in averages), key
