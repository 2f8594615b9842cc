"""`python -m benchmarks`: which cases run, what is written, and the exit status."""

import json

import pytest

from benchmarks import __main__ as command
from benchmarks import cases, experiments, harness, machine, report
from benchmarks.harness import Case, CaseResult, Side, SideResult
from benchmarks.ours import training
from benchmarks.protocol import Job
from benchmarks.settings import LEARNERS, SIDES, Options
from configs import lungs
from jaxcxr import models
from jaxcxr.tasks.network import normalisation

MACHINE = {"cpu": "a CPU", "cores": 2, "jax": {"platform": "cpu"}}


@pytest.fixture
def fakes(monkeypatch, tmp_path):
    """Two cases of fake sides in the place of the real ones, on a machine that was not asked."""
    turns = str(tmp_path / "turns")

    def side(name, value=1.0, needs=()):
        return Side(
            name,
            Job(
                "tests.benchmarks.fakes:note", {"name": name, "turns": turns, "value": value}, needs
            ),
        )

    known = [
        Case("good/one", (side("PyTorch", needs=("torch",)), side("jaxcxr")), warmups=0),
        Case("bad/one", (side("PyTorch", 2.0), side("jaxcxr")), warmups=0),
    ]
    monkeypatch.setattr(cases, "all_cases", lambda options: known)
    monkeypatch.setattr(
        machine, "describe", lambda: (MACHINE, {"torch": "torch is not installed", "a GPU": "none"})
    )
    monkeypatch.setattr(harness, "PAUSE", 0.0)


def test_a_missing_framework_is_a_row(fakes, tmp_path, capsys):
    assert command.main(["good/*", "--repeats", "1", "--out", str(tmp_path / "out")]) == 0
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    [case] = content["cases"]
    assert case["sides"][0]["skipped"] == "torch is not installed"
    assert case["sides"][1]["median"] > 0
    assert not content["measures_nothing"]
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| good/one | PyTorch | skipped: torch is not installed |" in table
    assert "`python -m benchmarks 'good/*' --repeats 1" in table
    printed = capsys.readouterr().out
    assert "[1/1] good/one" in printed and table.strip() in printed


def test_other_numbers_fail_whatever_the_times(fakes, tmp_path):
    assert command.main(["--repeats", "1", "--quick", "--out", str(tmp_path)]) == 1
    table = (tmp_path / "table.md").read_text()
    assert "- bad/one, PyTorch: x differs from that of jaxcxr by 1, above 0.001" in table
    assert "Its times measure nothing" in table
    assert json.loads((tmp_path / "results.json").read_text())["measures_nothing"]


def test_an_unknown_case_is_an_error_at_once(fakes, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["step/densenet"])
    assert "no case is called 'step/densenet'" in capsys.readouterr().err


def test_the_machines_peak_is_measured_with_any_choice():
    known = cases.all_cases(Options())
    chosen = [case.name for case in command.choose(known, ["step/*/whole"])]
    assert chosen[:2] == ["peak/matmul", "peak/copy"]
    assert set(chosen[2:]) == {f"step/{name}/whole" for name in LEARNERS}
    assert command.choose(known, []) == known


@pytest.mark.parametrize(
    ("learner", "package", "batch"),
    [
        ("efficientnet_b4", "torchvision", 8),
        ("efficientnet_lite1", "efficientnet_lite_pytorch", 16),
    ],
)
def test_depthwise_networks_see_whole_images_of_several_sides(learner, package, batch):
    known = {case.name: case for case in cases.all_cases(Options())}
    for side in SIDES:
        for what, draw in (("step", "draw_batch"), ("predict", "draw_inputs")):
            case = known[f"{what}/{learner}/{side}"]
            inputs, weights = case.prepare
            assert inputs.function == f"benchmarks.ours.classify:{draw}"
            assert inputs.arguments["images"] == batch
            config = experiments.load(inputs.arguments["config"], inputs.arguments["fields"])
            assert (config.model.name, config.patches.size) == (learner, side)
            assert not config.patches.enabled
            peers = [peer.job for peer in case.sides if peer.name.startswith("PyTorch")]
            assert len(peers) == (6 if side == 224 else 5) and not any(
                job.arguments.get("one_by_one") for job in peers
            )
            assert all({"torch", package} <= {*job.needs} for job in (weights, *peers))


def test_a_batch_of_whole_images_is_compared_as_a_whole():
    [case] = command.choose(cases.all_cases(Options(batch=3)), ["predict/efficientnet_lite0/96"])[
        2:
    ]
    ours = next(side.job.arguments for side in case.sides if side.name == "jaxcxr")
    assert ours["images"] == ours["compared"] == ours["fields"]["evaluate.batch_size"] == 6


def test_the_lungs_network_is_the_ready_made_one_but_for_its_values():
    for what in ("train", "predict"):
        [case] = command.choose(cases.all_cases(Options()), [f"lite_unet/{what}"])[2:]
        given = case.prepare[0].arguments
        config, shipped = experiments.load(given["config"], given["fields"]), lungs.get_config()
        assert (config.model.name, config.model.pretrained) == ("lite_unet", "")
        pairs = zip(normalisation(config.model), normalisation(shipped.model), strict=True)
        assert all((drawn == ready).all() for drawn, ready in pairs)
        for section in ("data", "masks", "loss"):
            assert config[section] == shipped[section]
        assert config.data.image_size == 256
        assert config.augment == experiments.load("v7_unet", {}).augment  # none


def test_the_documentation_counts_the_cases():
    text = (harness.ROOT / "docs" / "PERFORMANCE.md").read_text()
    assert f"`--list` names the {len(cases.all_cases(Options()))} cases" in text


@pytest.mark.parametrize("learner", ["densenet161", "efficientnet_b4"])
def test_training_steps_leave_out_all_that_is_drawn(learner, monkeypatch):
    monkeypatch.setattr(models, "MODELS", dict(models.MODELS))
    training.leave_out_dropout(learner)
    network = models.build(learner, num_classes=4)
    rates = [getattr(network, name, 0.0) for name in ("dropout", "stochastic_depth")]
    assert rates == [0.0, 0.0]


@pytest.mark.parametrize("quick", [False, True])
def test_every_case_has_its_function_and_its_config(quick):
    """Those of the peers as well, which may not be imported here: their sources say what they
    define.
    """
    known = cases.all_cases(Options(quick=quick))
    names = [case.name for case in known]
    assert len(names) == len(set(names))
    assert names == [case.name for case in cases.all_cases(Options(gpu=True))]
    jobs = [job for case in known for job in (*case.prepare, *(side.job for side in case.sides))]
    inner = [Job(**job.arguments["job"]) for job in jobs if "job" in job.arguments]
    for job in [*jobs, *inner]:
        module, _, name = job.function.partition(":")
        source = (harness.ROOT / f"{module.replace('.', '/')}.py").read_text()
        assert f"\ndef {name}(" in source, job.function
        if "config" in job.arguments:
            experiments.load(job.arguments["config"], job.arguments["fields"])


def test_a_field_that_no_config_has_is_named():
    with pytest.raises(KeyError, match=r"configs/densenet\.py has no field optim\.rate"):
        experiments.load("densenet", {"optim.rate": 1.0})


def test_the_table_has_rates_and_shares_of_the_peak():
    peak = CaseResult("peak/matmul", [SideResult("jaxcxr", seconds=[0.5], flops=1e11)])
    ours = SideResult(
        "jaxcxr", seconds=[2.0, 4.0, 6.0], flops=2e11, first_seconds=61.5, host_bytes=3 * 2**30
    )
    curve = CaseResult("scaling/images", [], expected_exponent=1.0, exponents=[0.9, 1.0, 1.1])
    results = [peak, CaseResult("step/x", [ours]), curve]
    assert report.peaks(results) == {"flops": 2e11}
    table = report.table(results, MACHINE, command="python -m benchmarks", quick=False)
    assert (
        "| step/x | jaxcxr | 4.00 | 3.00 to 5.00 | 3 |  |  |  | 61.5 | 50.0 | 25% | 3072 |  |"
        in table
    )
    assert "| scaling/images | 1.00 | 0.95 to 1.05 | 1 |" in table
    content = report.to_json(results, MACHINE, command="", quick=False)
    assert content["cases"][1]["sides"][0]["share_of_peak"] == {"flops": 0.25, "bytes": None}
