"""Every case, with its sides. This file imports neither framework; the functions it names do, in their processes."""

from __future__ import annotations

from benchmarks import cases_system
from benchmarks.harness import Case, Side
from benchmarks.protocol import Job
from benchmarks.settings import (
    GPU,
    LEARNERS,
    TORCH,
    TORCHVISION,
    Fields,
    Options,
    learner_fields,
    step_arguments,
)

SEGMENTERS = {"fc_densenet103": "fc_densenet103", "unet": "v7_unet", "unet_cxnet": "lung_unet"}
_SEGMENTED = 2  # images a batch, as configs/fc_densenet103.py:paper

_BF16 = 0.1  # tolerance of automatic mixed precision: 8 bits of mantissa through a hundred layers


def all_cases(options: Options) -> list[Case]:
    """In the order in which they run; names do not depend on the options."""
    cases = [*_peaks(options), *(_patched(name, options) for name in LEARNERS)]
    cases += [_step(name, view, options) for name in LEARNERS for view in ("whole", "patched")]
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
    function: str, arguments: Fields, o: Options, *, needs: tuple[str, ...], prefix: str
) -> list[Side]:
    """The forms of PyTorch beyond its defaults, the best of which is the peer."""
    given = {**arguments, "where": o.where}
    last: Fields = {**given, "form": "channels_last"}
    sides = [Side(f"{prefix}, channels_last", Job(function, last, needs))]
    if not o.gpu:  # as jaxcxr's processes
        kept = Job(function, last, needs, keep_freed=True)
        sides.append(Side(f"{prefix}, channels_last, memory kept", kept))
    halves = {"bf16": "AMP bf16", "bf16_compiled": "AMP bf16, compiled"}
    for form, name in halves.items():
        job = Job(function, {**given, "form": form}, needs + GPU)
        sides.append(Side(f"{prefix}, {name}", job, tolerance=_BF16))
    return sides


def _ours(function: str, arguments: Fields) -> list[Side]:
    """jaxcxr as the config has it, and on a GPU also in bfloat16, as AMP."""
    half = {**arguments, "fields": {**arguments["fields"], "model.dtype": "bfloat16"}}
    return [
        Side("jaxcxr", Job(function, arguments)),
        Side("jaxcxr, bf16", Job(function, half, GPU), tolerance=_BF16),
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
            *_forms(predict, batched, o, needs=TORCHVISION, prefix="PyTorch, batched"),
            *_ours("benchmarks.ours.classify:predict", {**given, "count": o.patches}),
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
            Side("PyTorch", Job(train, {**given, "form": "plain", "where": o.where}, TORCHVISION)),
            *_forms(train, given, o, needs=TORCHVISION, prefix="PyTorch"),
            *_ours("benchmarks.ours.classify:train", given),
        ),
        prepare=prepare,
    )


def _segmenter(name: str, what: str, o: Options) -> Case:
    """A batch of two images: a training step, or masks and losses."""
    fields: Fields = {}
    if o.quick:
        fields = {"data.image_size": 32, "model.width": 0.25, "model.depth": 0.25}
    given: Fields = {"config": SEGMENTERS[name], "fields": fields}
    peer = f"benchmarks.peers.segment:{what}"
    return Case(
        f"{name}/{what}",
        (
            Side("PyTorch", Job(peer, {**given, "form": "plain", "where": o.where}, TORCH)),
            *_forms(peer, given, o, needs=TORCH, prefix="PyTorch"),
            *_ours(f"benchmarks.ours.segment:{what}", given),
        ),
        prepare=(Job("benchmarks.ours.segment:draw_inputs", {**given, "images": _SEGMENTED}),),
    )


def _tables(o: Options) -> list[Case]:
    """Ensemble, metrics, bootstrap; their table has about as many rows as the papers' data have images."""
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
