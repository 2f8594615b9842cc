"""A training that kills itself without warning: python -m tests.training.killed WORKDIR STEPS."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests import tiny
from tests.training.fitting import config, fit


def main(workdir: str, steps: str) -> None:
    def before(step: int) -> None:
        if step == int(steps):
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        tiny.add_networks(patch)
        fit(config(), Path(workdir), before=before)


if __name__ == "__main__":
    main(*sys.argv[1:])
