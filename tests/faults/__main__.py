"""`python -m tests.faults [NAME ...]

[--trials N] [--seed N] [--out FILE]`: promises, trials, failures.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests import conftest  # noqa: F401  (the same devices and caches as the suite)
from tests.faults.promises import all_promises
from tests.faults.running import Outcome, try_promise


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "names", nargs="*", default=["*"], help="promises: 'mutants/*', ...; default: all"
    )
    parser.add_argument("--trials", type=int, help="for each promise; default: the full campaign's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, help="JSON file of outcomes; those of other promises in it stay"
    )
    arguments = parser.parse_args()
    promises = {
        name: promise
        for name, promise in all_promises().items()
        if any(fnmatch.fnmatch(name, pattern) for pattern in arguments.names)
    }
    if not promises:
        parser.error(
            f"no promise is called {arguments.names}; there are {', '.join(all_promises())}"
        )
    logging.disable(logging.WARNING)  # thousands of them are right
    outcomes: list[Outcome] = []
    keep = Path(tempfile.mkdtemp(prefix="jaxcxr-faults-"))
    for promise in promises.values():
        trials = promise.full if arguments.trials is None else arguments.trials
        outcome = try_promise(promise, trials, seed=arguments.seed, folder=keep)
        outcomes.append(outcome)
        for failure in outcome.failures[:10]:
            print(f"  {promise.name}: {failure}", file=sys.stderr)
        if arguments.out:
            _keep(arguments.out, outcome)
    print(table([outcome.to_json() for outcome in outcomes]))
    failures = sum(len(outcome.failures) for outcome in outcomes)
    if failures:
        print(f"what failed is kept in {keep}", file=sys.stderr)
    return 1 if failures else 0


def _keep(path: Path, outcome: Outcome) -> None:
    """Writes the outcome into a file that may hold those of other promises."""
    before = json.loads(path.read_text()) if path.exists() else []
    others = [one for one in before if one["promise"] != outcome.promise.name]
    outcomes = sorted([*others, outcome.to_json()], key=lambda one: one["promise"])
    path.write_text(json.dumps(outcomes, indent=1) + "\n")


def table(outcomes: Sequence[Mapping[str, Any]]) -> str:
    """Markdown."""
    rows = ["| promise | | trials | failures | seconds |", "| --- | --- | --: | --: | --: |"]
    for one in outcomes:
        trials = f"skipped: {one['skipped']}" if one["skipped"] else f"{one['trials']:,}"
        numbers = f"{trials} | {len(one['failures'])} | {one['seconds']:.0f}"
        rows.append(f"| `{one['promise']}` | {one['text']} | {numbers} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
