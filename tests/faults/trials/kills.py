"""Commands that are killed at any moment and started again end as if they had never been."""

from __future__ import annotations

import collections
import concurrent.futures
import functools
import queue
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.faults.promises import Context, promise
from tests.faults.scenarios import SCENARIOS, digests, leftovers
from tests.faults.victims import Ended, Server

# Of every stage of a run, before and after what is renamed, written or deleted there.
POINTS = {
    "train": (
        "before drawing a phantom",
        "after preparing an image",
        "before renaming N.N.N/jaxcxr_table_vN.npz",
        "before renaming sN_pN_seedN_cN.N/N.N.N",
        "before renaming preprocessed/N",
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
        "after renaming run/checksums.json",
    ),
    "xrays": (
        "after preparing an image",
        "after renaming masks/N.png.png",
        "before a row of predictions.csv",
        "after a row of predictions.csv",
        "before renaming xrays/summary.json",
    ),
    "masks": (
        "after preparing an image",
        "after renaming .masks-new/phantom-pN-N.png",
        "after renaming .masked-new/phantom-pN-N.png",
        "before renaming .masks-new/index.json",
        "after renaming .masks-new/index.json",
        "before renaming run/masked",
        "after renaming run/masked",
        "before renaming run/masks",
        "after renaming run/masks",
    ),
    "export": (
        "after renaming export/model.stablehlo",
        "before renaming export/model.safetensors",
        "after renaming export/model.safetensors",
        "before renaming export/model.json",
        "after renaming export/model.json",
    ),
    "study": (
        "after renaming segment/finished.json",
        "before renaming run/stages.json",
        "after renaming run/stages.json",
        "before renaming foldN/config.json",
        "after renaming foldN/finished.json",
        "before renaming run/report.md",
    ),
}
WORKERS = 2  # commands at a time
QUICK = {"export": 2}  # of the suite: it starts from a short training


class Campaign:
    """Scenarios in folders of their own, with their undisturbed results to compare with."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._servers: queue.SimpleQueue[Server] = queue.SimpleQueue()
        for _ in range(WORKERS):
            self._servers.put(Server(folder / "programs"))
        self._whole: dict[str, tuple[dict[str, str], list[str]]] = {}

    def run(self, scenario: str, folder: Path, **kill: Any) -> Ended:
        """`Server.run` of the next server that is free."""
        server = self._servers.get()
        try:
            return server.run(scenario, folder, **kill)
        finally:
            self._servers.put(server)

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
            ended = self.run(scenario, folder)
            if ended["status"]:
                raise RuntimeError(f"{scenario} fails undisturbed:\n{ended['said'][-3000:]}")
            self._whole[scenario] = digests(scenario, folder), ended["events"]
        return self._whole[scenario]

    def killed(self, scenario: str, name: str, event: str, number: int, by: int) -> str:
        """Kills a run at an event and starts it again; '' if it ends like the undisturbed one."""
        expected, _ = self.whole(scenario)
        folder = self.begin(scenario, name)
        kill = {"event": event, "number": number, "signal": by}
        first = self.run(scenario, folder, kill=kill)
        where = f"{scenario}, {signal.Signals(by).name} {event!r} {number} in {folder}: "
        problem = _problem_of_end(first, by)
        if problem:
            return where + problem
        again = self.run(scenario, folder)
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
        for _ in range(WORKERS):
            self._servers.get().close()


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
    """Kills at each of the points in turn, at any of its occurrences."""
    campaign = Campaign(context.folder)
    try:
        counts = collections.Counter(campaign.whole(scenario)[1])
        chosen = [points[n % len(points)] for n in range(context.trials)]
        if missing := sorted({event for event in chosen if not counts[event]}):
            yield f"{scenario} has no moments {missing}; it has {sorted(counts)}"
            return
        numbers = [int(context.rng.integers(counts[event])) for event in chosen]
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            yield from pool.map(
                lambda n: campaign.killed(
                    scenario, f"trial{n}", chosen[n], numbers[n], signal.SIGKILL
                ),
                range(context.trials),
            )
    finally:
        campaign.close()


for _name, _points in POINTS.items():
    promise(
        f"kills/{_name}",
        "SIGKILL at any moment; the same command started again ends with the same bits",
        full=10 * len(_points),
        quick=QUICK.get(_name, 0),
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
        moments = [int(context.rng.integers(len(events))) for _ in range(context.trials)]

        def kill(n: int) -> str:
            event, by = events[moments[n]], (signal.SIGTERM, signal.SIGINT)[n % 2]
            number = events[: moments[n]].count(event)
            return campaign.killed("train", f"trial{n}", event, number, by)

        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            yield from pool.map(kill, range(context.trials))
    finally:
        campaign.close()
