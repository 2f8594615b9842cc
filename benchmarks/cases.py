"""Every case, with its sides.

This file imports neither framework; the functions it names do, in their processes.
"""

from __future__ import annotations

from typing import NamedTuple

from benchmarks import cases_system
from benchmarks.harness import Case, Side, Tolerance
from benchmarks.protocol import Job
from benchmarks.settings import (
    COMPILER,
    DEPTHWISE,
    GPU,
    LEARNERS,
    SIDES,
    TORCH,
    TORCHVISION,
    Fields,
    Options,
    images,
    learner_fields,
    needs,
    side_arguments,
    step_arguments,
)

SEGMENTERS = {
    "fc_densenet103": "fc_densenet103",
    "unet": "v7_unet",
    "unet_cxnet": "lung_unet",
    "lite_unet": "lungs:",  # as the ready-made one is: 256 px, nothing augmented
}
# What the ready-made weights say of pixels; the first values that take their place say 0.5.
LUNGS_PIXELS: Fields = {"model.mean": (127 / 255,), "model.std": (128 / 255,)}
_COMPILED = 224  # of SIDES: that at which torch.compile is measured, which takes minutes
_SEGMENTED = 2  # images a batch, as configs/fc_densenet103.py:paper


class _Tolerances(NamedTuple):
    """How far the forms of PyTorch, and ours in bfloat16, may be from ours in float32."""

    plain: Tolerance
    channels_last: Tolerance
    bf16: Tolerance  # 8 bits of mantissa through a hundred layers


_PREDICTION = _Tolerances(1e-3, 1e-3, 0.1)
# A whole image has one vote, which goes to another class where two are close.
_WHOLE_PREDICTION = _PREDICTION._replace(bf16={"mean_softmax": 0.1, "vote_fraction": 1.0})
# With ReLUs within rounding of 0 in many layers of batch statistics, norms of float32 gradients are
# up to a hundredth off (in float64 they agree to 1e-9: tests/parity). In the channels_last layout
# PyTorch sums these statistics one pixel after the other: a variance of a million pixels is off by
# 2e-4, and the gradient of a deep network by its half.
_STEP = _Tolerances(
    {"loss": 1e-3, "gradient": 0.03},
    {"loss": 5e-3, "gradient": 0.5},
    {"loss": 0.1, "gradient": 0.5},
)


def all_cases(options: Options) -> list[Case]:
    """In the order in which they run; names do not depend on the options."""
    cases = [*_peaks(options), *(_patched(name, options) for name in LEARNERS)]
    cases += [_step(name, view, options) for name in LEARNERS for view in ("whole", "patched")]
    cases += [_step(name, str(side), options) for name in DEPTHWISE for side in SIDES]
    cases += [_predict(name, side, options) for name in DEPTHWISE for side in SIDES]
    cases += [
        _segmenter(name, what, options) for name in SEGMENTERS for what in ("train", "predict")
    ]
    return [*cases, *_tables(options), *cases_system.all_cases(options)]


def _peaks(o: Options) -> list[Case]:
    side = 256 if o.quick else 8192 if o.gpu else 2048
    numbers = 2**20 if o.quick else 2**28 if o.gpu else 2**26
    sizes: dict[str, Fields] = {"matmul": {"side": side}, "copy": {"numbers": numbers}}
    return [
        Case(
            f"peak/{name}",
            (
                Side(
                    "PyTorch",
                    Job(f"benchmarks.peers.peak:{name}", {**size, "where": o.where}, TORCH),
                ),
                Side("jaxcxr", Job(f"benchmarks.ours.peak:{name}", size)),
            ),
            tolerance=1e-2,  # TF32 on GPUs
        )
        for name, size in sizes.items()
    ]


def _forms(
    function: str,
    arguments: Fields,
    o: Options,
    tolerances: _Tolerances,
    *,
    needs: tuple[str, ...],
    prefix: str,
    compiled: bool = False,
) -> list[Side]:
    """The forms of PyTorch beyond its defaults, the best of which is the peer.

    With `compiled` also torch.compile's on CPUs, in float32, for minutes in each process.
    """
    given = {**arguments, "where": o.where}
    last: Fields = {**given, "form": "channels_last"}
    rough = tolerances.channels_last
    sides = [Side(f"{prefix}, channels_last", Job(function, last, needs), rough)]
    if not o.gpu:  # as jaxcxr's processes
        kept = Job(function, last, needs, keep_freed=True)
        sides.append(Side(f"{prefix}, channels_last, memory kept", kept, rough))
        if compiled:
            program = Job(
                function, {**given, "form": "compiled"}, needs + COMPILER, keep_freed=True
            )
            sides.append(Side(f"{prefix}, compiled, memory kept", program, rough))
    halves = {"bf16": "AMP bf16", "bf16_compiled": "AMP bf16, compiled"}
    for form, name in halves.items():
        job = Job(function, {**given, "form": form}, needs + GPU)
        sides.append(Side(f"{prefix}, {name}", job, tolerances.bf16))
    return sides


def _peers(
    function: str,
    arguments: Fields,
    o: Options,
    tolerances: _Tolerances,
    *,
    needs: tuple[str, ...],
    compiled: bool = False,
) -> list[Side]:
    """PyTorch by its defaults, and its other forms."""
    plain = Job(function, {**arguments, "form": "plain", "where": o.where}, needs)
    others = _forms(
        function, arguments, o, tolerances, needs=needs, prefix="PyTorch", compiled=compiled
    )
    return [Side("PyTorch", plain), *others]


def _ours(function: str, arguments: Fields, tolerances: _Tolerances) -> list[Side]:
    """jaxcxr as the config has it, and on a GPU also in bfloat16, as AMP."""
    half = {**arguments, "fields": {**arguments["fields"], "model.dtype": "bfloat16"}}
    return [
        Side("jaxcxr", Job(function, arguments)),
        Side("jaxcxr, bf16", Job(function, half, GPU), tolerances.bf16),
    ]


def _patched(learner: str, o: Options) -> Case:
    """Patched prediction of one image, from the image and its mask on the host to votes."""
    fields = learner_fields(learner, o, trains=False)
    if o.quick:
        fields |= {"data.image_size": 160, "patches.size": 64, "patches.chunk": 3}
        if learner == "inception_v3":
            fields["model.input_size"] = 96
    given: Fields = {"config": f"patched_{LEARNERS[learner]}", "fields": fields}
    predict = "benchmarks.peers.classify:predict"
    batched = {**given, "one_by_one": False}
    published = {**given, "one_by_one": True, "form": "plain", "where": o.where}
    return Case(
        f"patched/{learner}",
        (
            Side("PyTorch, one patch at a time", Job(predict, published, TORCHVISION)),
            *_forms(predict, batched, o, _PREDICTION, needs=TORCHVISION, prefix="PyTorch, batched"),
            *_ours("benchmarks.ours.classify:predict", {**given, "count": o.patches}, _PREDICTION),
        ),
        prepare=(
            Job("benchmarks.ours.classify:draw_inputs", {**given, "images": 1, "count": o.patches}),
            Job("benchmarks.peers.classify:draw_weights", given, TORCHVISION),
        ),
    )


def _step(learner: str, view: str, o: Options) -> Case:
    """A training step: forward, loss, backward, Adam with coupled L2."""
    given, prepare = step_arguments(learner, view, o)
    train = "benchmarks.peers.classify:train"
    return Case(
        f"step/{learner}/{view}",
        (
            *_peers(train, given, o, _STEP, needs=needs(learner), compiled=view == str(_COMPILED)),
            *_ours("benchmarks.ours.classify:train", given, _STEP),
        ),
        prepare=prepare,
        tolerance=_STEP.plain,
    )


def _predict(learner: str, side: int, o: Options) -> Case:
    """Prediction of a batch of whole images, from the images on the host to probabilities."""
    given, count = side_arguments(learner, side, o, trains=False), images(learner, o)
    given["fields"]["evaluate.batch_size"] = count
    drawn: Fields = {**given, "images": count, "count": 1}
    predict = "benchmarks.peers.classify:predict"
    batched: Fields = {**given, "one_by_one": False}
    ours: Fields = {**drawn, "compared": count}
    return Case(
        f"predict/{learner}/{side}",
        (
            *_peers(
                predict,
                batched,
                o,
                _WHOLE_PREDICTION,
                needs=needs(learner),
                compiled=side == _COMPILED,
            ),
            *_ours("benchmarks.ours.classify:predict", ours, _WHOLE_PREDICTION),
        ),
        prepare=(
            Job("benchmarks.ours.classify:draw_inputs", drawn),
            Job("benchmarks.peers.classify:draw_weights", given, needs(learner)),
        ),
    )


def _segmenter(name: str, what: str, o: Options) -> Case:
    """A batch of two images: a training step, or masks and losses."""
    fields: Fields = dict(LUNGS_PIXELS) if name == "lite_unet" else {}
    if o.quick:
        fields |= {"data.image_size": 32, "model.width": 0.25, "model.depth": 0.25}
    given: Fields = {"config": SEGMENTERS[name], "fields": fields}
    peer = f"benchmarks.peers.segment:{what}"
    tolerances = _STEP if what == "train" else _PREDICTION
    return Case(
        f"{name}/{what}",
        (
            *_peers(peer, given, o, tolerances, needs=TORCH),
            *_ours(f"benchmarks.ours.segment:{what}", given, tolerances),
        ),
        prepare=(Job("benchmarks.ours.segment:draw_inputs", {**given, "images": _SEGMENTED}),),
        tolerance=tolerances.plain,
    )


def _tables(o: Options) -> list[Case]:
    """Ensemble, metrics, bootstrap; their table has about as many rows as the papers' data have
    images.
    """
    rows = 200 if o.quick else 6400
    draw = (Job("benchmarks.predictions:draw", {"rows": rows}),)
    given: Fields = {"config": "flannel.ensemble", "fields": {}}
    draws: Fields = {"draws": 20 if o.quick else 500}
    return [
        Case(
            "ensemble/train",
            (
                Side(
                    "PyTorch",
                    Job("benchmarks.peers.tables:ensemble", {**given, "where": o.where}, TORCH),
                ),
                Side("jaxcxr", Job("benchmarks.ours.tables:ensemble", given)),
            ),
            prepare=draw,
        ),
        Case(
            "metrics/macro_f1",
            (
                Side("scikit-learn", Job("benchmarks.peers.tables:macro_f1")),
                Side("jaxcxr", Job("benchmarks.ours.tables:macro_f1")),
            ),
            prepare=draw,
            tolerance=1e-6,
        ),
        Case(
            "metrics/bootstrap",
            (
                Side("NumPy, a loop", Job("benchmarks.peers.tables:bootstrap", draws)),
                Side("jaxcxr", Job("benchmarks.ours.tables:bootstrap", draws)),
            ),
            prepare=draw,
            tolerance=1e-6,
        ),
    ]
