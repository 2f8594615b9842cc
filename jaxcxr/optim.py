"""Optimisers, learning-rate schedules, plateau and early stopping.

As the papers' frameworks define them.

The learning rate in force is decided on the host (schedule times plateau factor) and written into
the optimiser state, so runs of different length share one compiled step.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from jaxcxr.errors import InputError
from jaxcxr.state import TrainState

OPTIMIZERS = ("adam", "sgd")
_MOST = 1e6  # factor on a learning rate
SCHEDULES = ("constant", "cosine", "milestones")


def build(
    name: str,
    *,
    weight_decay: float,
    l1: float,
    momentum: float,
    clip_norm: float,
    freeze: Sequence[str] = (),
    decay_on: Sequence[str] = (),
    layer_rates: Sequence[str] = (),
) -> optax.GradientTransformation:
    """The update rule without its learning rate, which `with_learning_rate` sets.

    Weight decay is coupled, as in torch.optim.Adam: it is added to the gradient before Adam
    rescales it (with the papers' 0.1 this is far from AdamW). The L1 penalty enters as its
    subgradient at the same place.

    Args:
        name: "adam" (beta 0.9, 0.999, eps 1e-8) or "sgd".
        weight_decay: coupled L2 factor.
        l1: factor of the sum of absolute parameters.
        momentum: of sgd.
        clip_norm: global gradient norm limit, 0 for none.
        freeze: regular expressions, searched in 'features/conv0/kernel'; parameters that match stay
            as they are.
        decay_on: patterns of those that weight decay acts on, () for all. Keras's
            kernel_regularizer=l2(x) of some layers is weight_decay=2x on these.
        layer_rates: "pattern=factor", on the learning rate of the parameters that match; of several
            patterns the first counts, and the rate of what matches none is not changed.

    Raises:
        InputError: no such name, a pattern that is no regular expression or matches nothing, or
            no factor of 0 or more.
    """
    parts: list[optax.GradientTransformation] = []
    if freeze:
        parts.append(_freeze(freeze))  # first, so that no frozen gradient is even computed
    if clip_norm:
        parts.append(optax.clip_by_global_norm(clip_norm))
    if weight_decay:
        mask = (
            functools.partial(matching, patterns=decay_on, field="decay_on") if decay_on else None
        )
        parts.append(optax.add_decayed_weights(weight_decay, mask))
    if l1:
        parts.append(_add_l1(l1))
    if name == "adam":
        parts.append(optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8))
    elif name == "sgd":
        parts.append(optax.trace(decay=momentum) if momentum else optax.identity())
    else:
        raise InputError(f"optim.name={name!r} is unknown; known: {', '.join(OPTIMIZERS)}")
    if freeze:
        parts.append(_freeze(freeze))  # again: weight decay and L1 have been added since
    if layer_rates:
        parts.append(_scale_layers(layer_rates, freeze))
    parts.append(optax.inject_hyperparams(optax.scale_by_learning_rate)(learning_rate=0.0))
    return optax.chain(*parts)


def _freeze(patterns: Sequence[str]) -> optax.GradientTransformation:
    def init(params: Any) -> optax.EmptyState:
        kept = matching(params, patterns=patterns, field="freeze")
        if all(jax.tree.leaves(kept)):
            raise InputError(
                f"optim.freeze={tuple(patterns)} keeps every parameter as it is, so that nothing "
                "is trained"
            )
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        frozen = matching(updates, patterns=patterns, field="freeze")
        return jax.tree.map(
            lambda stays, value: jnp.zeros_like(value) if stays else value, frozen, updates
        ), state

    return optax.GradientTransformation(init, update)


def _scale_layers(
    layer_rates: Sequence[str], freeze: Sequence[str]
) -> optax.GradientTransformation:
    patterns, factors = [], []
    for text in layer_rates:
        pattern, sign, number = text.rpartition("=")
        try:
            factor = float(number)
        except ValueError:
            factor = math.nan
        if not (pattern and sign and 0 <= factor <= _MOST):
            raise InputError(
                f"optim.layer_rates has {text!r}: write 'pattern=factor', such as '^features/=0.1'"
            )
        patterns.append(pattern)
        factors.append(factor)

    def init(params: Any) -> optax.EmptyState:
        matching(params, patterns=patterns, field="layer_rates")
        trained = [n for n in names(params) if not any(re.search(p, n) for p in freeze)]
        for pattern in patterns:
            if not any(re.search(pattern, name) for name in trained):
                raise InputError(
                    f"optim.layer_rates: {pattern!r} matches only parameters that optim.freeze "
                    f"keeps as they are: take them out of optim.freeze={tuple(freeze)}"
                )
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        scales = [
            next((f for p, f in zip(patterns, factors, strict=True) if re.search(p, name)), 1.0)
            for name in names(updates)
        ]
        tree = jax.tree.unflatten(jax.tree.structure(updates), scales)
        return jax.tree.map(lambda scale, value: scale * value, tree, updates), state

    return optax.GradientTransformation(init, update)


def matching(params: Any, *, patterns: Sequence[str], field: str) -> Any:
    """Pytree of bools: whether one of the patterns is in the parameter's name.

    Raises:
        InputError: a pattern is in no name, or is no regular expression.
    """
    leaves = names(params)
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise InputError(
                f"optim.{field}: {pattern!r} is no regular expression: {error}"
            ) from error
        if not any(re.search(pattern, name) for name in leaves):
            starts = dict.fromkeys(name.partition("/")[0] for name in leaves)
            raise InputError(
                f"optim.{field}: {pattern!r} matches no parameter; their names begin with "
                f"{', '.join(starts)}, such as {leaves[0]}"
            )
    found = [any(re.search(pattern, name) for pattern in patterns) for name in leaves]
    return jax.tree.unflatten(jax.tree.structure(params), found)


def names(params: Any) -> list[str]:
    """'features/conv0/kernel', ... of each leaf, in the order of `jax.tree.leaves`."""
    return [
        jax.tree_util.keystr(keys, simple=True, separator="/")
        for keys, _ in jax.tree_util.tree_leaves_with_path(params)
    ]


def _add_l1(factor: float) -> optax.GradientTransformation:
    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return jax.tree.map(lambda g, p: g + factor * jnp.sign(p), updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def with_learning_rate(state: TrainState, learning_rate: jax.Array) -> TrainState:
    """The same state with another learning rate in force (a float32 scalar)."""
    *head, last = cast("tuple[Any, ...]", state.opt_state)
    last = last._replace(hyperparams={**last.hyperparams, "learning_rate": learning_rate})
    return state.replace(opt_state=(*head, last))


def schedule_factor(
    name: str, *, step: int, steps: int, warmup: float, milestones: Sequence[float], decay: float
) -> float:
    """Factor on the base learning rate at a step.

    Args:
        name: "constant"; "cosine" (to zero at the end); "milestones" (times `decay` at each
            fraction of the run).
        step: steps taken so far.
        steps: steps of the whole run.
        warmup: fraction of the run with a linear rise from 0.
        milestones: fractions of the run, in [0, 1], for "milestones".
        decay: factor at each milestone.
    """
    progress = step / max(steps, 1)
    if progress < warmup:
        return (step + 1) / (warmup * steps + 1)
    if name == "constant":
        return 1.0
    if name == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
    if name == "milestones":
        return decay ** sum(progress >= milestone for milestone in milestones)
    raise InputError(f"optim.schedule={name!r} is unknown; known: {', '.join(SCHEDULES)}")


@dataclasses.dataclass
class EarlyStopping:
    """The best value of the monitored metric, and the end of training when it stops improving.

    Its fields are saved as JSON with every checkpoint, so a resumed run stops where the
    uninterrupted one would.

    Attributes:
        mode: "max" or "min".
        patience: evaluations without improvement before stopping; 0 never stops.
        min_delta: least improvement that counts; negative values are the published rule
            "new > best - 0.05" (facts of the patch-by-patch code).
        best: best value; None before the first evaluation with a number.
        best_step: its step.
        num_bad_evals: evaluations since the last improvement.
    """

    mode: str
    patience: int
    min_delta: float
    best: float | None = None
    best_step: int = 0
    num_bad_evals: int = 0

    def update(self, value: float, step: int) -> bool:
        """Takes one evaluation; returns whether it is an improvement (NaN never is)."""
        sign = 1.0 if self.mode == "max" else -1.0
        improved = not math.isnan(value) and (
            self.best is None or sign * (value - self.best) > self.min_delta
        )
        if improved:
            self.best, self.best_step, self.num_bad_evals = value, step, 0
        else:
            self.num_bad_evals += 1
        return improved

    @property
    def stop(self) -> bool:
        """True once patience has run out."""
        return bool(self.patience) and self.num_bad_evals >= self.patience

    def to_json(self) -> dict[str, Any]:
        """The part that changes while training; the keys are those of saved checkpoints."""
        return {"best": self.best, "best_step": self.best_step, "bad": self.num_bad_evals}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continues from the values of `to_json`; other keys are ignored."""
        self.best, self.best_step = saved["best"], saved["best_step"]
        self.num_bad_evals = saved["bad"]


@dataclasses.dataclass
class ReduceLROnPlateau:
    """Factor on the learning rate, reduced whenever the monitored metric stops improving.

    Attributes:
        patience: evaluations without improvement before a reduction; 0 never reduces.
        decay: factor of one reduction.
        factor: product of the reductions so far.
        num_bad_evals: evaluations since the last improvement or reduction.
    """

    patience: int
    decay: float
    factor: float = 1.0
    num_bad_evals: int = 0

    def update(self, improved: bool) -> None:
        """Takes the outcome of one evaluation, see `EarlyStopping.update`."""
        self.num_bad_evals = 0 if improved else self.num_bad_evals + 1
        if self.patience and self.num_bad_evals >= self.patience:
            self.factor *= self.decay
            self.num_bad_evals = 0

    def to_json(self) -> dict[str, Any]:
        """The part that changes while training; the keys are those of saved checkpoints."""
        return {"plateau_bad": self.num_bad_evals, "factor": self.factor}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continues from the values of `to_json`; other keys are ignored."""
        self.num_bad_evals, self.factor = saved["plateau_bad"], saved["factor"]
