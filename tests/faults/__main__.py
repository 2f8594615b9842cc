"""`python -m tests.faults [NAME ...] [--trials N] [--seed N] [--out FILE]`: promises, trials, failures."""

from __future__ import annotations

import argparse
import fnmatch
import json
import logging
import sys
import tempfile
from pathlib import Path

from tests import conftest  # noqa: F401  (the same devices and caches as the suite)
from tests.faults.promises import all_promises
from tests.faults.running import Outcome, try_promise


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", nargs="*", default=["*"], help="promises: 'mutants/*', ...; default: all")
    parser.add_argument("--trials", type=int, help="for each promise; default: the full campaign's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a JSON file for the outcomes")
    arguments = parser.parse_args()
    promises = {
        name: promise
        for name, promise in all_promises().items()
        if any(fnmatch.fnmatch(name, pattern) for pattern in arguments.names)
    }
    if not promises:
        parser.error(f"no promise is called {arguments.names}; there are {', '.join(all_promises())}")
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
            arguments.out.write_text(json.dumps([o.to_json() for o in outcomes], indent=1))
    print(table(outcomes))
    failures = sum(len(outcome.failures) for outcome in outcomes)
    if failures:
        print(f"what failed is kept in {keep}", file=sys.stderr)
    return 1 if failures else 0


def table(outcomes: list[Outcome]) -> str:
    """Markdown."""
    lines = ["| promise | what it says | trials | failures | seconds |", "| --- | --- | --: | --: | --: |"]
    for o in outcomes:
        trials = f"skipped: {o.skipped}" if o.skipped else f"{o.trials:,}"
        lines.append(f"| {o.promise.name} | {o.promise.text} | {trials} | {len(o.failures)} | {o.seconds:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
