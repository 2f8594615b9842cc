"""Optimisers are torch's, schedules and early stopping do what their fields say."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcxr import optim, state
from jaxcxr.errors import InputError

WEIGHTS = np.array([0.5, -0.25, 0.0, 2.0])


def gradient(weights: np.ndarray, step: int) -> np.ndarray:
    """Of any smooth loss; here of sum((w - target)^2) / 2 with a target that moves."""
    return weights - np.array([1.0, -1.0, 0.5, 0.1 * step])


def train(steps: int, learning_rate: float, **options) -> np.ndarray:
    """Weights after `steps` updates of the project's optimiser."""
    defaults = {"weight_decay": 0.0, "l1": 0.0, "momentum": 0.0, "clip_norm": 0.0}
    name = options.pop("name", "adam")
    optimizer = optim.build(name, **{**defaults, **options})
    current = state.create({"params": {"w": jnp.asarray(WEIGHTS, jnp.float32)}}, optimizer)
    for step in range(steps):
        current = optim.with_learning_rate(current, jnp.float32(learning_rate))
        grads = {"w": jnp.asarray(gradient(np.asarray(current.params["w"]), step), jnp.float32)}
        updates, opt_state = optimizer.update(grads, current.opt_state, current.params)
        current = current.replace(
            params=optax.apply_updates(current.params, updates), opt_state=opt_state
        )
    return np.asarray(current.params["w"])


def torch_adam(steps: int, learning_rate: float, weight_decay: float, l1: float) -> np.ndarray:
    """torch.optim.Adam(weight_decay=...) with a loss that has `l1 * |w|`, in float64."""
    w, m, v = WEIGHTS.copy(), np.zeros(4), np.zeros(4)
    for step in range(steps):
        g = gradient(w, step) + l1 * np.sign(w) + weight_decay * w
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        m_hat, v_hat = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.999 ** (step + 1))
        w = w - learning_rate * m_hat / (np.sqrt(v_hat) + 1e-8)
    return w


@pytest.mark.parametrize(("weight_decay", "l1"), [(0.0, 0.0), (0.1, 0.0), (0.0, 0.3), (0.1, 0.3)])
def test_adam_is_torchs_with_coupled_penalties(weight_decay, l1):
    ours = train(5, 0.01, weight_decay=weight_decay, l1=l1)
    np.testing.assert_allclose(ours, torch_adam(5, 0.01, weight_decay, l1), rtol=2e-5, atol=1e-6)


def test_coupled_decay_is_not_adamw():
    """Adam's first step has the size of the learning rate, whatever the decay adds to the
    gradient.
    """
    coupled = train(1, 0.01, weight_decay=0.1)
    np.testing.assert_allclose(np.abs(coupled - WEIGHTS), 0.01, rtol=1e-3)
    decoupled = WEIGHTS - 0.01 * (np.sign(gradient(WEIGHTS, 0)) + 0.1 * WEIGHTS)
    assert abs(coupled[3] - decoupled[3]) > 1e-3


def test_sgd_with_momentum():
    w, trace = WEIGHTS.copy(), np.zeros(4)
    for step in range(4):
        trace = gradient(w, step) + 0.9 * trace
        w = w - 0.1 * trace
    np.testing.assert_allclose(train(4, 0.1, name="sgd", momentum=0.9), w, rtol=1e-5)


def test_clipping_bounds_the_global_norm():
    moved = train(1, 1.0, name="sgd", clip_norm=0.5) - WEIGHTS
    np.testing.assert_allclose(np.linalg.norm(moved), 0.5, rtol=1e-5)


def test_learning_rate_in_force_scales_the_update_and_is_saved_with_the_state():
    optimizer = optim.build("adam", weight_decay=0.0, l1=0.0, momentum=0.9, clip_norm=0.0)
    fresh = state.create({"params": {"w": jnp.ones(2)}}, optimizer)
    assert fresh.opt_state[-1].hyperparams["learning_rate"] == 0.0
    changed = optim.with_learning_rate(fresh, jnp.float32(0.25))
    assert changed.opt_state[-1].hyperparams["learning_rate"] == 0.25
    assert changed.opt_state[:-1] == fresh.opt_state[:-1]


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(InputError, match="optim.name='adamw' is unknown; known: adam, sgd"):
        optim.build("adamw", weight_decay=0.0, l1=0.0, momentum=0.0, clip_norm=0.0)
    with pytest.raises(
        InputError, match="optim.schedule='step' is unknown; known: constant, cosine, milestones"
    ):
        factor("step", 0)


def factor(name: str, step: int, **options) -> float:
    defaults = {"warmup": 0.0, "milestones": (0.5, 0.75), "decay": 0.1}
    return optim.schedule_factor(name, step=step, steps=100, **{**defaults, **options})


def test_schedules():
    assert [factor("constant", step) for step in (0, 50, 99)] == [1.0, 1.0, 1.0]
    np.testing.assert_allclose(
        [factor("cosine", step) for step in (0, 50, 100)], [1, 0.5, 0], atol=1e-12
    )
    np.testing.assert_allclose(
        [factor("milestones", step) for step in (0, 49, 50, 74, 75, 99)],
        [1, 1, 0.1, 0.1, 0.01, 0.01],
    )


def test_warmup_rises_linearly_and_then_the_schedule_begins():
    rises = [factor("cosine", step, warmup=0.1) for step in range(10)]
    np.testing.assert_allclose(np.diff(rises), 1 / 11)
    assert rises[0] > 0
    assert factor("cosine", 10, warmup=0.1) == 1.0
    assert factor("constant", 0, warmup=0.0) == 1.0


def early_stopping(**options) -> optim.EarlyStopping:
    return optim.EarlyStopping(**{"mode": "max", "patience": 0, "min_delta": 0.0, **options})


def test_early_stopping_remembers_the_best_of_either_mode():
    highest, lowest = early_stopping(), early_stopping(mode="min")
    for step, value in enumerate([0.5, 0.7, 0.7, 0.2], start=1):
        highest.update(value, step)
        lowest.update(value, step)
    assert (highest.best, highest.best_step) == (0.7, 2)  # of equals the first
    assert (lowest.best, lowest.best_step) == (0.2, 4)


def test_patience_counts_evaluations_without_improvement():
    stopping = early_stopping(patience=2)
    stops = []
    for step, value in enumerate([0.5, 0.4, 0.6, 0.6, 0.5]):
        stopping.update(value, step)
        stops.append(stopping.stop)
    assert stops == [False, False, False, False, True]
    endless = early_stopping(patience=0)
    assert not any([endless.update(0.0, step) and endless.stop for step in range(50)])


def test_min_delta_asks_for_more_and_a_negative_one_is_the_published_slack():
    strict, slack = early_stopping(min_delta=0.1), early_stopping(min_delta=-0.05)
    assert [strict.update(value, 0) for value in (0.5, 0.55, 0.65)] == [True, False, True]
    # "new > best - 0.05": a slightly worse value counts, and becomes what the next is compared
    # with.
    assert [slack.update(value, 0) for value in (0.5, 0.46, 0.42, 0.36)] == [
        True,
        True,
        True,
        False,
    ]
    assert slack.best == 0.42


def test_plateau_cuts_the_learning_rate_again_and_again():
    plateau = optim.ReduceLROnPlateau(patience=2, decay=0.1)
    factors = []
    for improved in [True, False, False, False, False, True, False]:
        plateau.update(improved)
        factors.append(plateau.factor)
    np.testing.assert_allclose(factors, [1, 1, 0.1, 0.1, 0.01, 0.01, 0.01])


def test_nan_is_never_the_best():
    stopping = early_stopping()
    assert not stopping.update(float("nan"), 1)
    assert stopping.update(0.3, 2)
    assert not stopping.update(float("nan"), 3)
    assert (stopping.best, stopping.best_step) == (0.3, 2)


def test_both_resume_from_their_json_as_if_never_interrupted():
    def start() -> tuple[optim.EarlyStopping, optim.ReduceLROnPlateau]:
        return early_stopping(patience=4), optim.ReduceLROnPlateau(patience=2, decay=0.1)

    def run(state: tuple, values: list[float], first: int) -> None:
        for step, value in enumerate(values, start=first):
            state[1].update(state[0].update(value, step))

    values = [0.5, 0.4, 0.6, 0.6, 0.5, 0.5, 0.5]
    whole, before, resumed = start(), start(), start()
    run(whole, values, 0)
    run(before, values[:4], 0)
    saved = json.loads(json.dumps(before[0].to_json() | before[1].to_json()))
    for part in resumed:
        part.restore(saved)
    run(resumed, values[4:], 4)
    assert resumed == whole
    assert resumed[0].stop


def test_the_loop_state_of_earlier_versions_is_restored():
    saved = {"best": 0.6, "best_step": 2, "bad": 3, "plateau_bad": 1, "factor": 0.1}
    stopping, plateau = early_stopping(patience=4), optim.ReduceLROnPlateau(patience=2, decay=0.1)
    stopping.restore(saved)
    plateau.restore(saved)
    assert (stopping.best, stopping.best_step, stopping.num_bad_evals) == (0.6, 2, 3)
    assert (plateau.num_bad_evals, plateau.factor) == (1, 0.1)
    assert stopping.to_json() | plateau.to_json() == saved


def test_frozen_parameters_stay_whatever_is_added_to_their_gradient():
    optimizer = optim.build(
        "adam", weight_decay=0.1, l1=0.1, momentum=0.0, clip_norm=1.0, freeze=("^features/",)
    )
    params = {"features": {"kernel": jnp.ones(3)}, "fc": {"kernel": jnp.ones(3)}}
    current = state.create({"params": params}, optimizer)
    current = optim.with_learning_rate(current, jnp.float32(0.1))
    updates, _ = optimizer.update(params, current.opt_state, current.params)
    assert not np.asarray(updates["features"]["kernel"]).any()
    np.testing.assert_allclose(updates["fc"]["kernel"], -0.1, rtol=1e-3)


def test_layers_have_rates_of_their_own_and_the_first_pattern_counts():
    options = dict(weight_decay=0.1, l1=0.0, momentum=0.0, clip_norm=0.0)
    rates = ("^features/b/=0", "^features/=0.25", "kernel$=3")
    layer = lambda: {"kernel": jnp.array([1.0, -2.0]), "bias": jnp.array([0.5, 4.0])}  # noqa: E731
    params = {"features": {"a": layer(), "b": layer()}, "fc": layer()}
    grads = jax.tree.map(lambda leaf: 2 * leaf, params)

    def updates(name, rate, **more):
        optimizer = optim.build(name, **options, **more)
        current = state.create({"params": params}, optimizer)
        current = optim.with_learning_rate(current, jnp.float32(rate))
        return jax.jit(optimizer.update)(grads, current.opt_state, current.params)[0]

    for name in ("adam", "sgd"):
        found = updates(name, 0.1, layer_rates=rates)
        # What a part would do as a network of its own at that rate.
        for part, rate in {
            ("features", "a", "kernel"): 0.025, ("features", "a", "bias"): 0.025,
            ("features", "b", "kernel"): 0.0, ("features", "b", "bias"): 0.0,
            ("fc", "kernel"): 0.3, ("fc", "bias"): 0.1,
        }.items():  # fmt: skip
            ours, theirs = found, updates(name, rate)
            for key in part:
                ours, theirs = ours[key], theirs[key]
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, err_msg=f"{name} {part}")
            assert rate == 0 or np.asarray(ours).all()


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        ("^features/", r"write 'pattern=factor', such as '\^features/=0\.1'"),
        ("^features/=", "write 'pattern=factor'"),
        ("=0.1", "write 'pattern=factor'"),
        ("^features/=-1", "write 'pattern=factor'"),
        ("^features/=inf", "write 'pattern=factor'"),
        ("^features/=nan", "write 'pattern=factor'"),
        ("^features/=1e39", "write 'pattern=factor'"),
        ("a{99999999999}=1", "is no regular expression: the repetition number is too large"),
        (
            "^feature_=0.1",
            r"'\^feature_' matches no parameter; their names begin with fc, such as fc/kernel",
        ),
        ("^(features/=0.1", r"'\^\(features/' is no regular expression: missing \)"),
    ],
)
def test_a_rate_that_cannot_be_is_named(rate, message):
    with pytest.raises(InputError, match=f"optim.layer_rates.*{message}"):
        optimizer = optim.build(
            "sgd", weight_decay=0.0, l1=0.0, momentum=0.0, clip_norm=0.0, layer_rates=(rate,)
        )
        state.create({"params": {"fc": {"kernel": jnp.ones(3)}}}, optimizer)


def test_a_rate_of_frozen_layers_alone_is_named():
    options = dict(weight_decay=0.0, l1=0.0, momentum=0.0, clip_norm=0.0, freeze=("^features/",))
    params = {"features": {"kernel": jnp.ones(3)}, "fc": {"kernel": jnp.ones(3)}}
    state.create({"params": params}, optim.build("sgd", **options, layer_rates=("kernel=0.1",)))
    optimizer = optim.build("sgd", **options, layer_rates=("^features/=0.1",))
    with pytest.raises(
        InputError, match=r"'\^features/' matches only parameters that optim.freeze"
    ):
        state.create({"params": params}, optimizer)


def test_a_pattern_that_freezes_nothing_is_named():
    optimizer = optim.build(
        "sgd", weight_decay=0.0, l1=0.0, momentum=0.0, clip_norm=0.0, freeze=("^feature_",)
    )
    with pytest.raises(
        InputError,
        match=r"'\^feature_' matches no parameter; their names begin with fc, such as fc/kernel",
    ):
        state.create({"params": {"fc": {"kernel": jnp.ones(3)}}}, optimizer)


def test_weight_decay_may_act_on_some_parameters_only():
    """As kernel_regularizer=l2(0.05) of the layer conv in Keras: the gradient of 0.05 * sum(kernel
    ** 2).
    """
    options = dict(weight_decay=0.1, l1=0.0, momentum=0.0, clip_norm=0.0)
    optimizer = optim.build("sgd", **options, decay_on=("^conv/kernel$",))
    params = {
        "conv": {"kernel": jnp.full(3, 2.0), "bias": jnp.ones(3)},
        "fc": {"kernel": jnp.ones(3)},
    }
    current = optim.with_learning_rate(
        state.create({"params": params}, optimizer), jnp.float32(1.0)
    )
    updates, _ = optimizer.update(
        jax.tree.map(jnp.zeros_like, params), current.opt_state, current.params
    )
    penalty = jax.grad(lambda kernel: 0.05 * (kernel**2).sum())(params["conv"]["kernel"])
    np.testing.assert_allclose(updates["conv"]["kernel"], -penalty, rtol=1e-6)
    assert not np.asarray(updates["conv"]["bias"]).any()
    assert not np.asarray(updates["fc"]["kernel"]).any()
    with pytest.raises(InputError, match=r"optim\.decay_on: 'dense' matches no parameter"):
        state.create({"params": params}, optim.build("sgd", **options, decay_on=("dense",)))
