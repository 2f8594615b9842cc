"""Pretrained weights: a catalogue of published files, and their way into our networks."""

from jaxcxr.weights import catalog
from jaxcxr.weights.catalog import CATALOG, Entry
from jaxcxr.weights.loading import Source, find, is_file_name, load

__all__ = ["CATALOG", "Entry", "Source", "catalog", "find", "is_file_name", "load"]
