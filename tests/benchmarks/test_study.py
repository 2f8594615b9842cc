"""The model of a whole study's time: its counts are the config's, its rates those that were
measured.
"""

import json

import jax
import pytest

from benchmarks import study
from benchmarks.ours import device
from benchmarks.study import Part
from configs import patched_resnet
from jaxcxr.models import layers
from tests import tiny

COSTS = [
    Part("a, training", "step/a/patched", 10, 3.6e12),
    Part("a, prediction", "patched/a", 40, 1.8e12),
]


def case(name, **sides):
    """sides: name of the side -> (floating-point operations, seconds); of a skipped side None."""
    rows = [
        {"name": side.replace("_", " "), "flops": of and of[0], "median": of and of[1]}
        for side, of in sides.items()
    ]
    return {"name": name, "sides": rows}


def results(*cases, quick=False):
    return {"measures_nothing": quick, "cases": list(cases)}


MEASURED = results(
    case("step/a/patched", PyTorch=(2e9, 1.0), jaxcxr=(2e9, 2.0)),
    case(
        "patched/a",
        PyTorch_slow=(4e9, 4.0),
        PyTorch_fast=(4e9, 2.0),
        jaxcxr=(4e9, 1.0),
        jaxcxr_bf16=None,
    ),
)


def learner():
    config = tiny.shrink(tiny.load("patched_resnet", "paper"))
    config.split.valid_fraction, config.split.test_fraction = 0.25, 0.2
    config.patches.train_count, config.patches.valid_count, config.patches.eval_count = 2, 3, 7
    config.train.epochs, config.train.eval_every = 6.0, 2.0
    return config


def test_the_operations_of_all_groups_are_counted():
    """On CPUs their convolutions are a loop, of whose body XLA counts one turn."""
    layer = layers.Conv(64, kernel_size=(3, 3), padding=(0, 0), groups=2)
    x = jax.ShapeDtypeStruct((1, 10, 12, 64), "float32")
    variables = jax.eval_shape(layer.init, jax.random.key(0), x)
    assert device.flops(jax.jit(layer.apply), variables, x) == 2 * (8 * 10) * 64 * (9 * 32)


def test_examples_of_a_learner_are_those_of_its_folds_epochs_and_patches():
    """100 images: 20 test, 80 in 4 folds of 20; of the other 60 a quarter chooses the checkpoint,
    45 train.
    """
    training, evaluations, prediction = study.learner_parts(learner(), 100, folds=4)
    assert training.examples == 4 * 6 * 45 * 2
    assert evaluations.examples == 4 * 3 * 15 * 3
    assert prediction.examples == 4 * (20 + 15 + 20) * 7
    assert [part.case for part in (training, evaluations, prediction)] == [
        "step/resnet152/patched",
        "patched/resnet152",
        "patched/resnet152",
    ]


def test_a_training_example_costs_about_three_forward_passes():
    """ResNet-152 needs 11.3 billion multiplications and additions (He et al. 2015, table 1)."""
    config = patched_resnet.get_config("paper")
    training, evaluations, prediction = study.learner_parts(config, 100, folds=5)
    assert evaluations.flops == prediction.flops == pytest.approx(2 * 11.3e9, rel=0.05)
    assert 2.5 < training.flops / prediction.flops < 3.5


def test_examples_of_the_segmenter():
    """50 lungs: 10 held out, 40 of which 30 % choose the checkpoint; masks of 500 images."""
    config = tiny.shrink(tiny.load("fc_densenet103"))
    config.split.folds, config.train.epochs = 5, 3.0
    training, evaluations, prediction = study.segmenter_parts(config, 500, 50)
    assert (training.examples, evaluations.examples, prediction.examples) == (3 * 28, 3 * 12, 510)
    assert training.flops > 2 * prediction.flops > 0


def test_rates_are_of_the_fastest_sides_and_of_the_published_way():
    assert study.rates(MEASURED) == {
        "step/a/patched": {"jaxcxr": 1e9, "PyTorch's best": 2e9, "PyTorch as published": 2e9},
        "patched/a": {"jaxcxr": 4e9, "PyTorch's best": 2e9, "PyTorch as published": 1e9},
    }


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(study, "parts", lambda **sizes: iter(COSTS))
    # Which would take the user's compilation cache.
    monkeypatch.setattr(study.device, "start", lambda config: None)
    assert study.main([*map(str, arguments)]) == 0
    return [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in capsys.readouterr().out.splitlines()
    ]


def test_hours_at_measured_rates(tmp_path, monkeypatch, capsys):
    (tmp_path / "results.json").write_text(json.dumps(MEASURED))
    head, _, training, prediction, whole = run(monkeypatch, capsys, tmp_path)
    assert head[-3:] == ["jaxcxr, hours", "PyTorch's best, hours", "PyTorch as published, hours"]
    assert training == ["a, training", "10", "3600.0", "0.0", "33.3", "10", "5", "5"]
    assert prediction[-3:] == ["5", "10", "20"]
    assert whole[-3:] == ["**15**", "**15**", "**25**"]


def test_hours_at_an_assumed_rate(monkeypatch, capsys):
    # 108 TFLOP at 0.006 TFLOP/s
    *_, whole = run(monkeypatch, capsys, "--tflops=0.03", "--share=0.2")
    assert whole[-1] == "**5**"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        ("{", "Expecting"),
        ("[]", "it is no results.json of `python -m benchmarks`"),
        (json.dumps(results(quick=True)), "it is of a quick run, which measures nothing"),
        (json.dumps(results(MEASURED["cases"][0])), "it has no patched/a with a side of jaxcxr"),
    ],
)
def test_results_that_do_not_do_are_answered_in_a_line(
    content, says, tmp_path, monkeypatch, capsys
):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, capsys, tmp_path / "results.json")
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--tflops=0", "--share=-1"])
def test_a_rate_is_above_0(flag, monkeypatch, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, capsys, flag)
    assert "is not above 0" in capsys.readouterr().err
