"""The warnings of a finished run's report, for whoever uses its network."""

from __future__ import annotations

from pathlib import Path

from jaxcxr.report import document


def of_run(folder: Path | None) -> tuple[str, ...]:
    """Those of report.json in a run folder; () where there is none.

    Raises:
        InputError: the file is damaged.
    """
    report = document.read_json(folder / "report.json") if folder else None
    warnings = (report or {}).get("warnings", ())
    return tuple(text for text in warnings if isinstance(text, str))
