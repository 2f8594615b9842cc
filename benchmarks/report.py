"""The results as JSON and as a table in Markdown."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import CaseResult, SideResult

QUICK = (
    "**This is a quick run: small networks and images, too few repetitions. It shows that every "
    "case works and that the sides agree. Its times measure nothing.**"
)
_COLUMNS = [
    "case",
    "side",
    "median, s",
    "quartiles, s",
    "n",
    "x of ours",
    "quartiles",
    "difference",
    "first, s",
]
_COLUMNS += ["GFLOP/s", "of peak", "host, MiB", "device, MiB"]
_PEAKS = {"flops": "peak/matmul", "bytes": "peak/copy"}
_EXPLANATION = """\
"x of ours" is the side's time over that of jaxcxr in the same round: above 1 jaxcxr is faster
(in input/train over that of the steps alone: what is above 1 they wait for input). "difference"
is the largest difference of any output from jaxcxr's, as a share of the output's largest value.
"first" is the first call, which compiles, or reads what was compiled before; a later repetition is
the mean of the calls that fill half a second. "of peak" is against the faster framework's float32
matrix product in this run; the peers do jaxcxr's floating-point operations, as XLA counts them.
"host" is the process's largest resident set."""


def peaks(results: Sequence[CaseResult]) -> dict[str, float]:
    """'flops' and 'bytes' a second of the machine: the best side of either peak case that ran."""
    best = {}
    for name, of in _PEAKS.items():
        rates = [_rate(side, name) for case in results if case.name == of for side in case.sides]
        if known := [rate for rate in rates if rate is not None]:
            best[name] = max(known)
    return best


def to_json(
    results: Sequence[CaseResult], machine: dict[str, Any], *, command: str, quick: bool
) -> dict[str, Any]:
    """All that was measured; `measures_nothing` of a quick run."""
    best = peaks(results)
    cases = []
    for case in results:
        fields = dataclasses.asdict(case)
        for side, row in zip(case.sides, fields["sides"], strict=True):
            row["median"] = side.median
            row["quartiles"] = quartiles(side.seconds)
            row["share_of_peak"] = {name: _share(side, name, best) for name in _PEAKS}
            if row["difference"] is not None and not math.isfinite(row["difference"]):
                row["difference"] = "infinite"
        cases.append(fields)
    return {
        "command": command,
        "measures_nothing": quick,
        "machine": machine,
        "peaks": best,
        "cases": cases,
    }


def quartiles(values: Sequence[float]) -> list[float] | None:
    return np.quantile(values, [0.25, 0.75]).tolist() if len(values) else None


def table(
    results: Sequence[CaseResult], machine: dict[str, Any], *, command: str, quick: bool
) -> str:
    """What people read."""
    best = peaks(results)
    lines = [QUICK, ""] if quick else []
    lines += [_row(_COLUMNS), _row(["---", "---", *["--:"] * (len(_COLUMNS) - 2)])]
    for case in results:
        lines += [_side(case, side, best) for side in case.sides]
    curves = [case for case in results if case.exponents]
    if curves:
        lines += [
            "",
            _row(["case", "exponent", "quartiles", "should be"]),
            _row(["---", "--:", "--:", "--:"]),
        ]
        for case in curves:
            low, high = np.quantile(case.exponents, [0.25, 0.75])
            middle, expected = np.median(case.exponents), case.expected_exponent
            lines.append(
                _row([case.name, f"{middle:.2f}", f"{low:.2f} to {high:.2f}", f"{expected:g}"])
            )
    problems = [f"- {c.name}, {s.name}: {s.failed}" for c in results for s in c.sides if s.failed]
    if problems:
        lines += ["", "**Failed:**", "", *problems]
    return "\n".join(
        [*lines, "", _EXPLANATION, "", *_machine(machine, best), "", f"`{command}`", ""]
    )


def _side(case: CaseResult, side: SideResult, best: dict[str, float]) -> str:
    if side.median is None:
        why = f"failed: {side.failed}" if side.failed else f"skipped: {side.skipped}"
        return _row([case.name, side.name, why, *[""] * (len(_COLUMNS) - 3)])
    rate, share = _rate(side, "flops"), _share(side, "flops", best)
    difference = "" if side.difference is None else f"{side.difference:.1e}"
    return _row(
        [
            *(
                case.name,
                side.name,
                _seconds(side.median),
                _range(side.seconds, _seconds),
                str(len(side.seconds)),
            ),
            f"{np.median(side.ratios):.2f}" if side.ratios else "",
            _range(side.ratios, "{:.2f}".format) if side.ratios else "",
            f"**{difference}**" if side.failed else difference,
            "" if side.first_seconds is None else _seconds(side.first_seconds),
            "" if rate is None else f"{rate / 1e9:.1f}",
            "" if share is None else f"{share:.0%}",
            "" if side.host_bytes is None else f"{side.host_bytes / 2**20:.0f}",
            "" if side.device_bytes is None else f"{side.device_bytes / 2**20:.0f}",
        ]
    )


def _range(values: Sequence[float], write: Any) -> str:
    low, high = np.quantile(values, [0.25, 0.75])
    return f"{write(low)} to {write(high)}"


def _seconds(value: float) -> str:
    """Three digits: 12.3, 0.0123, 1230."""
    digits = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:.{digits}f}"


def _rate(side: SideResult, name: str) -> float | None:
    amount, median = getattr(side, name), side.median
    return None if amount is None or not median else amount / median


def _share(side: SideResult, name: str, best: dict[str, float]) -> float | None:
    rate = _rate(side, name)
    return None if rate is None or name not in best else rate / best[name]


def _machine(machine: dict[str, Any], best: dict[str, float]) -> list[str]:
    def flat(fields: dict[str, Any]) -> str:
        return ", ".join(f"{name} {value}" for name, value in fields.items() if value != "")

    plain = {name: value for name, value in machine.items() if not isinstance(value, dict)}
    lines = [f"- {flat(plain)}"]
    lines += [
        f"- {name}: {flat(value)}"
        for name, value in machine.items()
        if isinstance(value, dict) and value
    ]
    if best:
        rates = {
            "flops": "GFLOP/s in a float32 matrix product",
            "bytes": "GB/s read and written by a negation in place",
        }
        lines.append(
            "- peak: "
            + ", ".join(f"{value / 1e9:.1f} {rates[name]}" for name, value in best.items())
        )
    return lines


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def write(
    folder: Path,
    results: Sequence[CaseResult],
    machine: dict[str, Any],
    *,
    command: str,
    quick: bool,
) -> None:
    """results.json and table.md."""
    folder.mkdir(parents=True, exist_ok=True)
    content = to_json(results, machine, command=command, quick=quick)
    (folder / "results.json").write_text(
        json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8"
    )
    (folder / "table.md").write_text(
        table(results, machine, command=command, quick=quick), encoding="utf-8"
    )
