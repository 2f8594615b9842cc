"""Views and ages as tables write them, in one spelling."""

from __future__ import annotations

import re

# 'APS' is the short form in the SCHEMA.md of the COVID-19 image data collection. Laterals ('L'), CT
# planes ('Axial', 'Coronal'), '?' and blanks are not here.
FRONTAL_VIEWS = {
    "pa": "PA",
    "pa erect": "PA",
    "ap": "AP",
    "ap supine": "AP Supine",
    "aps": "AP Supine",
    "ap erect": "AP Erect",
    "ap semi erect": "AP Semi Erect",
    "ap semierect": "AP Semi Erect",
}


def age_group(age: str) -> str:
    """'adult' from 18 years on, 'paediatric' below, '' if `age` is not a plain number of years.

    Ages above 120, of which NIH's table has some, are errors: ''.
    """
    if not re.fullmatch(r"\d{1,3}(\.\d+)?", age.strip()) or float(age) > 120:
        return ""
    return "adult" if float(age) >= 18 else "paediatric"


def frontal_view(view: str) -> str | None:
    """A frontal view in canonical spelling ('PA', 'AP Supine', ...), None for all other views."""
    return FRONTAL_VIEWS.get(same_spelling(view))


def same_spelling(text: str) -> str:
    """`text` in small letters, with one blank for any blanks, '-' and '_' between words."""
    return " ".join(re.split(r"[\s_-]+", text.casefold())).strip()
