"""`python -m benchmarks [CASE ...]`: see --help, and docs/PERFORMANCE.md for what came out."""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import cases, harness, machine, report
from benchmarks.harness import Case, CaseResult
from benchmarks.settings import Options
from jaxcxr.storage import names, streams


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if a side failed, or computed other numbers than jaxcxr."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=(
            "jaxcxr beside PyTorch on the same numbers. Parts that cannot run here say why."
        ),
    )
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help="names or patterns: 'step/*/whole'; default: all"
    )
    parser.add_argument("--list", action="store_true", help="print the cases' names")
    parser.add_argument(
        "--repeats", type=at_least_1, help="counted rounds (default 5; 2 with --quick)"
    )
    parser.add_argument(
        "--patches",
        type=at_least_1,
        help="K of an image (default 100, the paper's; 4 with --quick)",
    )
    parser.add_argument(
        "--batch",
        type=at_least_1,
        help="images of a training step, half of EfficientNet-Lite's (default 8; 2 with --quick)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="small networks and images: every case works, nothing is measured",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write results.json and table.md there"
    )
    flags = parser.parse_args(arguments)
    options = Options(
        patches=flags.patches or (4 if flags.quick else 100),
        batch=flags.batch or (2 if flags.quick else 8),
        quick=flags.quick,
    )
    known = cases.all_cases(options)
    try:
        chosen = choose(known, flags.cases)
    except LookupError as error:
        parser.error(str(error))
    if flags.list:
        print("\n".join(case.name for case in chosen))
        return 0
    found, missing = machine.describe()
    options = dataclasses.replace(options, gpu="a GPU" not in missing)
    chosen = choose(cases.all_cases(options), flags.cases)
    repeats = flags.repeats or (2 if flags.quick else 5)
    command = shlex.join(
        ["python", "-m", "benchmarks", *(sys.argv[1:] if arguments is None else arguments)]
    )

    def write(results: Sequence[CaseResult]) -> str:
        """Also the files, after every case."""
        if flags.out is not None:
            report.write(flags.out, results, found, command=command, quick=flags.quick)
        return report.table(results, found, command=command, quick=flags.quick)

    results: list[CaseResult] = []
    for number, case in enumerate(chosen, start=1):
        started = time.monotonic()
        results.append(harness.measure(case, repeats=repeats, missing=missing))
        taken = time.monotonic() - started
        print(
            f"[{number}/{len(chosen)}] {case.name}, {taken:.0f} s: {summary(results[-1])}",
            flush=True,
        )
        write(results)
    print("\n" + write(results))
    return int(any(result.failed for result in results))


def at_least_1(text: str) -> int:
    """A type of argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def choose(known: Sequence[Case], patterns: Sequence[str]) -> list[Case]:
    """The cases of the patterns in their own order, the machine's peaks first; all without
    patterns.

    Raises:
        LookupError: a pattern that fits no case.
    """
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(case.name, pattern) for case in known):
            raise LookupError(f"no case is called {pattern!r}; --list names them")
    wanted = ["peak/*", *patterns] if patterns else ["*"]
    return [
        case for case in known if any(fnmatch.fnmatchcase(case.name, pattern) for pattern in wanted)
    ]


def summary(result: CaseResult) -> str:
    """A case in a line."""

    def of(side: harness.SideResult) -> str:
        if side.failed:
            return f"{side.name} FAILED ({side.failed})"
        if side.median is None:
            return f"{side.name} skipped"
        ratio = f", {np.median(side.ratios):.2f} x ours" if side.ratios else ""
        return f"{side.name} {side.median:.3g} s{ratio}"

    return "; ".join(of(side) for side in result.sides)


if __name__ == "__main__":
    names.print_whatever_comes()
    with streams.quiet_when_unread():
        sys.exit(main())
