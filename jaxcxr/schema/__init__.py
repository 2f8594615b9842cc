"""The config schema: every field of every experiment, once.

Its default, meaning and allowed values, the run modes that read it, and whether it belongs to a
run's identity and to its compiled programs. Configs are made, checked and explained from it; it
imports nothing that computes.
"""

from jaxcxr.schema.building import (
    PRESETS,
    Experiment,
    Table,
    changed,
    check_preset,
    config,
    merged,
    run_name,
)
from jaxcxr.schema.checking import (
    EARLIER,
    LATER,
    RETIRED,
    check,
    checked,
    completed,
    field_names,
    holds_stages,
    section_of,
    stages,
    unknown_field,
)
from jaxcxr.schema.field import Field, Section
from jaxcxr.schema.tasks import KINDS
from jaxcxr.schema.uses import check_read, is_read, names_without

__all__ = [
    "EARLIER", "KINDS", "LATER", "PRESETS", "RETIRED", "Experiment", "Field", "Section", "Table",
    "changed", "check", "check_preset", "check_read", "checked", "completed", "config",
    "field_names", "holds_stages", "is_read", "merged", "names_without", "run_name", "section_of",
    "stages", "unknown_field",
]  # fmt: skip
