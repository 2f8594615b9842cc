"""A part of the fault campaign: every promise, with few trials."""

from __future__ import annotations

import pytest

from tests.faults.promises import Promise, all_promises
from tests.faults.running import try_promise

QUICK = [promise for promise in all_promises().values() if promise.quick]


@pytest.mark.parametrize("promise", QUICK, ids=lambda promise: promise.name)
def test_promise_holds(promise: Promise, tmp_path):
    outcome = try_promise(promise, promise.quick, seed=1, folder=tmp_path)
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert not outcome.failures, "\n".join(outcome.failures[:5])
