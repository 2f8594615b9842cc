"""Pretrained weights: a catalogue of published files, and their way into our networks."""

from jaxcxr.weights import catalog, header
from jaxcxr.weights.catalog import CATALOG, Entry
from jaxcxr.weights.loading import (
    NO_HASH,
    Source,
    check,
    check_installed,
    check_network,
    find,
    from_config,
    load,
)

__all__ = [
    "CATALOG",
    "NO_HASH",
    "Entry",
    "Source",
    "catalog",
    "check",
    "check_installed",
    "check_network",
    "find",
    "from_config",
    "header",
    "load",
]
