"""Commands that are killed at any moment and started again end as if they had never been."""

from __future__ import annotations

import collections
import functools
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.faults.promises import Context, promise
from tests.faults.scenarios import SCENARIOS, digests, leftovers
from tests.faults.victims import Ended, Server

# Of every stage of a run, before and after what is renamed, written or deleted there.
POINTS = {
    "train": (
        "before drawing a phantom",
        "after preparing an image",
        "before renaming preprocessed/.building-N",
        "after renaming preprocessed/N",
        "after renaming run/config.json",
        "after renaming run/manifest.json",
        "before a training step",
        "after a row of metrics.jsonl",
        "before writing a checkpoint's arrays",
        "after writing a checkpoint's arrays",
        "before hashing a checkpoint",
        "before renaming N/manifest.json",
        "after renaming N/manifest.json",
        "before deleting checkpoints/N",
        "after deleting checkpoints/N",
        "after renaming run/timings.json",
        "before renaming run/training.json",
        "after renaming run/training.json",
        "before renaming run/finished.json",
        "after renaming run/finished.json",
        "before deleting N/optimizer",
        "before renaming run/predictions.npz",
        "after renaming run/predictions.npz",
        "after renaming plots/curves.png",
        "after renaming run/report.json",
        "after renaming run/report.md",
        "before renaming run/table.txt",
    ),
}


class Campaign:
    """Scenarios in folders of their own, with their undisturbed results to compare with."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._server = Server(folder / "programs")
        self._whole: dict[str, tuple[dict[str, str], list[str]]] = {}

    def begin(self, scenario: str, name: str) -> Path:
        """A folder to run the scenario in, with what it starts from."""
        folder = self.folder / name / scenario
        before = SCENARIOS[scenario].before
        if before:
            self.whole(before)
            shutil.copytree(self.folder / "whole" / before, folder)
        else:
            folder.mkdir(parents=True)
        return folder

    def whole(self, scenario: str) -> tuple[dict[str, str], list[str]]:
        """Digests of the artifacts of an undisturbed run, and its events."""
        if scenario not in self._whole:
            folder = self.begin(scenario, "whole")
            ended = self._server.run(scenario, folder)
            if ended["status"]:
                raise RuntimeError(f"{scenario} fails undisturbed:\n{ended['said'][-3000:]}")
            self._whole[scenario] = digests(scenario, folder), ended["events"]
        return self._whole[scenario]

    def killed(self, scenario: str, name: str, event: str, number: int, by: int) -> str:
        """Kills a run at an event and starts it again; '' if it ends like the undisturbed one."""
        expected, _ = self.whole(scenario)
        folder = self.begin(scenario, name)
        kill = {"event": event, "number": number, "signal": by}
        first = self._server.run(scenario, folder, kill=kill)
        where = f"{scenario}, {signal.Signals(by).name} {event!r} {number} in {folder}: "
        problem = _problem_of_end(first, by)
        if problem:
            return where + problem
        again = self._server.run(scenario, folder)
        if again["status"]:
            return where + f"exit status {again['status']} on restart: {again['said'][-600:]}"
        found = digests(scenario, folder)
        differing = [n for n in {*expected, *found} if expected.get(n) != found.get(n)]
        if differing:
            return where + f"other bits in {', '.join(sorted(differing)[:5])}"
        if left := leftovers(folder):
            return where + f"left behind: {', '.join(left[:3])}"
        shutil.rmtree(folder)
        return ""

    def close(self) -> None:
        self._server.close()


def _problem_of_end(ended: Ended, by: int) -> str:
    """A signal that can be handled ends a command with 128 + its number and no traceback."""
    if by == signal.SIGKILL:
        return "" if ended["status"] == -by else f"was not killed: {ended['status']}"
    if ended["status"] == 0:  # came while the last files were written
        return ""
    # Outside training SIGTERM ends a process at once, which a shell calls 143, too.
    if ended["status"] not in (128 + by, *([-by] if by == signal.SIGTERM else [])):
        return f"exit status {ended['status']}: {ended['said'][-600:]}"
    return "a traceback: " + ended["said"][-600:] if "Traceback" in ended["said"] else ""


def _trials(context: Context, scenario: str, points: tuple[str, ...]) -> Iterator[str]:
    campaign = Campaign(context.folder)
    try:
        counts = collections.Counter(campaign.whole(scenario)[1])
        for n in range(context.trials):
            event = points[n % len(points)]
            if not counts[event]:
                yield f"{scenario} has no moment {event!r}; it has {sorted(counts)}"
                continue
            number = int(context.rng.integers(counts[event]))
            yield campaign.killed(scenario, f"trial{n}", event, number, signal.SIGKILL)
    finally:
        campaign.close()


for _name, _points in POINTS.items():
    promise(
        f"kills/{_name}",
        "SIGKILL at any moment; the same command started again ends with the same bits",
        full=10 * len(_points),
        quick=0,
    )(functools.partial(_trials, scenario=_name, points=_points))


@promise(
    "kills/signals",
    "SIGTERM and SIGINT at any moment: 143 or 130, no traceback; the same command goes on",
    full=40,
    quick=0,
)
def signals(context: Context) -> Iterator[str]:
    campaign = Campaign(context.folder)
    try:
        _, events = campaign.whole("train")
        for n in range(context.trials):
            at = int(context.rng.integers(len(events)))
            by = (signal.SIGTERM, signal.SIGINT)[n % 2]
            number = events[:at].count(events[at])
            yield campaign.killed("train", f"trial{n}", events[at], number, by)
    finally:
        campaign.close()


