"""Ids of images and patients: plain ASCII, stable, and never two texts in one id."""

from __future__ import annotations

import collections
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path


def safe_id(text: str) -> str:
    """`text` with every run of characters outside [A-Za-z0-9._-] replaced by one '_'."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)


def distinct_id(text: str, *, key: str | None = None) -> str:
    """`safe_id` made injective: a short hash distinguishes texts that `safe_id` would merge.

    Args:
        text: the text that the id shows.
        key: the text that is hashed, if not `text`: the same for equivalent spellings.
    """
    safe = safe_id(text)
    if safe == text:
        return text
    digest = hashlib.sha256(
        (text if key is None else key).encode(errors="surrogatepass")
    ).hexdigest()[:8]
    return "-".join(filter(None, (safe.strip("_"), digest)))


def unique_ids(file_names: Iterable[str], *, prefix: str) -> dict[str, str]:
    """Maps distinct file names to ids: the stem; where stems clash, the name and a short hash.

    An id depends on its own name and on whether another name has the same stem, never on order.
    """
    names = list(file_names)
    stems = {name: safe_id(Path(name).stem) for name in names}
    count = collections.Counter(stems.values())

    def make(name: str) -> str:
        if count[stems[name]] == 1:
            return f"{prefix}-{stems[name]}"
        return (
            f"{prefix}-{safe_id(name)}-"
            f"{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"
        )

    return {name: make(name) for name in names}
