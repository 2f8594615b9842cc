"""Pretrained weights: a catalogue of published files, and their way into our networks."""

from jaxcxr.weights import catalog, header
from jaxcxr.weights.catalog import CATALOG, Entry
from jaxcxr.weights.loading import NO_HASH, Source, find, load

__all__ = ["CATALOG", "NO_HASH", "Entry", "Source", "catalog", "find", "header", "load"]
