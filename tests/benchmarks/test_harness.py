"""The harness takes turns, compares what was computed, and says what it could not run.

Its workers are real.
"""

import platform

import numpy as np
import pytest

from benchmarks import harness
from benchmarks.harness import Case, Side, SideResult
from benchmarks.protocol import Job

FAKES = "tests.benchmarks.fakes"


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(harness, "PAUSE", 0.0)
    monkeypatch.setattr(harness, "TURN_SECONDS", 0.0)


def noting(tmp_path, name, **arguments):
    return Side(
        name, Job(f"{FAKES}:note", {"name": name, "turns": str(tmp_path / "turns"), **arguments})
    )


def measure(case, *, repeats=1, missing=None):
    return harness.measure(case, repeats=repeats, missing=missing or {})


def test_sides_take_turns_there_and_back(tmp_path):
    # Idle for long enough to be measured.
    sides = tuple(noting(tmp_path, name, seconds=0.05) for name in "ABC")
    result = measure(Case("turns", sides, reference="B", warmups=1), repeats=2)
    assert (tmp_path / "turns").read_text() == "ABC" + "CBA" + "ABC"
    assert [len(side.seconds) for side in result.sides] == [2, 2, 2]
    assert [len(side.ratios) for side in result.sides] == [2, 0, 2]
    assert not result.failed
    assert all(side.host_bytes > 1e6 and side.idle_cpu < 0.5 for side in result.sides)
    # The peers' are those of the reference.
    assert [side.flops for side in result.sides] == [
        100,
        100,
        100,
    ]


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc's malloc keeps what is freed, if told to"
)
def test_a_process_keeps_what_it_frees_if_its_job_says_so(tmp_path):
    kept, given_back = (
        harness.call(Job(f"{FAKES}:page_faults", keep_freed=keep), tmp_path)
        for keep in (True, False)
    )
    assert 5 * kept < given_back


def test_a_turn_is_as_long_as_it_takes(tmp_path):
    sides = noting(tmp_path, "A", seconds=0.3), noting(tmp_path, "B")
    slow, fast = measure(Case("sleep", sides, reference="B", warmups=1)).sides
    assert slow.median >= 0.3 > fast.median
    assert slow.ratios == [slow.seconds[0] / fast.seconds[0]]
    assert slow.difference == 0.0


def test_a_turn_makes_as_many_calls_as_it_takes_to_measure_a_short_one(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "TURN_SECONDS", 0.2)
    sides = noting(tmp_path, "A", seconds=0.09), noting(tmp_path, "B", seconds=0.3)
    short, long = measure(Case("calls", sides, reference="B", warmups=1), repeats=2).sides
    # The first turn, which compiles, is one call; three of A last 0.2 s, one of B does.
    assert (tmp_path / "turns").read_text() == "AB" + "BAAA" + "AAAB"
    assert len(short.seconds) == len(long.seconds) == 2
    assert short.median < 0.2  # of a call


def test_medians_and_ratios_are_those_of_the_counted_rounds():
    case = Case("numbers", (Side("peer", Job("")), Side("jaxcxr", Job(""))))
    rounds = [{0: 3.0, 1: 1.0}, {0: 4.0, 1: 2.0}, {0: 10.0, 1: 2.5}]
    peer, ours = harness.summarise(case, [SideResult("peer"), SideResult("jaxcxr")], rounds).sides
    assert (peer.median, ours.median) == (4.0, 2.0)
    assert peer.ratios == [3.0, 2.0, 4.0]  # round by round; the quotient of the medians would be 2
    assert ours.ratios == []


def test_a_curve_has_an_exponent_in_every_round():
    sides = tuple(Side(str(n), Job(""), size=n) for n in (1, 2, 4))
    results = [SideResult(side.name, side.size) for side in sides]
    rounds = [{i: 3 * side.size**power for i, side in enumerate(sides)} for power in (1.0, 0.5)]
    result = harness.summarise(Case("curve", sides, exponent=1.0), results, rounds)
    assert result.exponents == pytest.approx([1.0, 0.5])


@pytest.mark.parametrize(("value", "fails"), [(1.0005, False), (1.5, True), (float("nan"), True)])
def test_a_side_that_computes_something_else_fails(tmp_path, value, fails):
    sides = noting(tmp_path, "A", value=value), noting(tmp_path, "B")
    result = measure(Case("different", sides, reference="B", tolerance=1e-3, warmups=0))
    assert result.failed == fails
    assert bool(result.sides[0].failed) == fails
    assert not result.sides[1].failed


def test_a_side_may_have_a_tolerance_of_its_own(tmp_path):
    rough = noting(tmp_path, "A", value=1.05)
    rough = Side(rough.name, rough.job, tolerance=0.1)
    result = measure(Case("rough", (rough, noting(tmp_path, "B")), reference="B", warmups=0))
    assert result.sides[0].difference == pytest.approx(0.05 / 1)
    assert not result.failed


@pytest.mark.parametrize(
    ("limit", "failed"), [(0.1, ""), (0.01, "x differs from that of B by 0.05, above 0.01")]
)
def test_an_output_may_have_a_tolerance_of_its_own(tmp_path, limit, failed):
    sides = noting(tmp_path, "A", value=1.05), noting(tmp_path, "B")
    result = measure(Case("gradient", sides, reference="B", tolerance={"x": limit}, warmups=0))
    assert result.sides[0].failed == failed


def test_what_this_machine_lacks_is_a_row_and_no_failure(tmp_path):
    needy = Side("peer", Job("no.such.module:at_all", needs=("torch", "a GPU")))
    sides = needy, noting(tmp_path, "jaxcxr")
    result = measure(Case("alone", sides, warmups=0), missing={"torch": "torch is not installed"})
    assert result.sides[0].skipped == "torch is not installed"
    assert result.sides[1].seconds and not result.failed


def test_sides_read_what_was_prepared_for_all():
    prepare = (
        Job(f"{FAKES}:write", {"value": 2.0}),
        Job(f"{FAKES}:write", {"value": 3.0}, needs=("torch",)),  # not here
    )
    sides = tuple(Side(name, Job(f"{FAKES}:read")) for name in ("peer", "jaxcxr"))
    result = measure(Case("prepared", sides, prepare, warmups=0), missing={"torch": "no"})
    assert result.sides[0].difference == 0.0


def test_a_side_that_breaks_is_a_failure_and_the_others_go_on(tmp_path):
    sides = (
        Side("peer", Job(f"{FAKES}:broken")),
        Side("other", Job(f"{FAKES}:dies")),
        noting(tmp_path, "jaxcxr"),
    )
    peer, other, ours = measure(Case("broken", sides, warmups=0), repeats=2).sides
    assert peer.failed == "exit status 1: ValueError: nothing fits in benchmarks"
    assert other.failed == "exit status 9: no word" or other.failed.startswith(
        "exit status 9: what"
    )
    assert len(ours.seconds) == 2 and not ours.failed


def test_a_preparation_that_breaks_fails_every_side():
    sides = (Side("jaxcxr", Job(f"{FAKES}:read")),)
    result = measure(Case("unprepared", sides, (Job(f"{FAKES}:broken"),)))
    assert result.sides[0].failed.startswith("preparation: exit status 1: ValueError")


def test_differences_are_shares_of_the_largest_value():
    expected = np.array([[2.0, -4.0]])
    assert harness.relative(expected + 0.2, expected) == pytest.approx(0.05)
    assert harness.relative(np.zeros(2), np.zeros(2)) == 0.0
    assert harness.relative(np.zeros(2), np.zeros(3)) == float("inf")
    assert harness.relative(np.array([np.nan, 1.0]), np.ones(2)) == float("inf")
