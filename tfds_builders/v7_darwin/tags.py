"""Meaning of V7's image tags: class of the study, finding, view, age, patient.

Images of kcx have only the type of pneumonia. Those of ccx also have its metadata, one tag per
column: 'View/AP_Supine', 'Age:65', 'PatientID:253', 'Sex/M', 'Survival/Y', 'location:Italy'. Tags
that are not named here are not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tfds_builders import attributes, rejection

CLASSES = {
    "covid-19": "covid19",
    "viral pneumonia": "viral",
    "bacterial pneumonia": "bacterial",
    "no pneumonia (healthy)": "normal",
}
# Named causes, in the words of ccx's metadata; the first of them that are there make the finding.
CAUSES = {
    "covid-19": "COVID-19",
    "sars": "SARS",
    "influenza": "Influenza",
    "varicella": "Varicella",
    "streptococcus": "Streptococcus",
    "klebsiella": "Klebsiella",
    "e.coli": "E.Coli",
    "legionella": "Legionella",
    "mycoplasma": "Mycoplasma",
    "chlamydophila": "Chlamydophila",
    "pneumocystis": "Pneumocystis",
    "lipoid": "Lipoid",
    "lipoid pneumonia": "Lipoid",
    "ards": "ARDS",
    "no finding": "No Finding",
}
# Without a cause: the type of pneumonia, in the words of kcx where it has one.
TYPES = {
    "bacterial pneumonia": "bacteria",
    "viral pneumonia": "virus",
    "no pneumonia (healthy)": "normal",
    "fungal pneumonia": "Fungal Pneumonia",
    "undefined pneumonia": "Pneumonia",
    "pneumonia": "Pneumonia",
}
_VIEW = re.compile(r"view[/:](?P<view>.+)", re.IGNORECASE)


def label(tags: Iterable[str]) -> str:
    """Class of the study; '' for none (fungal, undefined) and for tags that contradict each other.

    COVID-19 comes with 'Viral Pneumonia', whose more special form it is.
    """
    classes = {CLASSES[tag] for tag in map(str.lower, tags) if tag in CLASSES}
    if "covid19" in classes:
        classes.discard("viral")
    return classes.pop() if len(classes) == 1 else ""


def finding(tags: Sequence[str]) -> str:
    """Named causes ('COVID-19, ARDS'), else the type of pneumonia ('virus'), else ''."""
    there = {tag.lower() for tag in tags}
    for words in (CAUSES, TYPES):
        if found := dict.fromkeys(word for tag, word in words.items() if tag in there):
            return ", ".join(found)
    return ""


def view(tags: Iterable[str]) -> str:
    """'PA', 'AP', 'AP Supine' or 'AP Erect'; '' without a tag for it.

    'Portable' is the machine, not the view.
    """
    return next((known for name in _views(tags) if (known := attributes.frontal_view(name))), "")


def reject_reason(tags: Iterable[str]) -> rejection.Reason | None:
    """The reason why an image is no frontal X-ray ('modality CT', 'view Lateral'), or None.

    Reasons are those of ccx.
    """
    tags = list(tags)
    if any(tag.lower() == "ct" for tag in tags):
        return rejection.modality_reason("CT")
    return next(filter(None, map(rejection.view_reason, _views(tags))), None)


def _views(tags: Iterable[str]) -> list[str]:
    """The views in tags such as 'View/AP_Supine', 'view:PA' and 'Lateral', without underscores."""
    tags = list(tags)
    views = [match["view"] for tag in tags if (match := _VIEW.fullmatch(tag))]
    views += ["Lateral" for tag in tags if tag.lower() == "lateral"]
    return [name.replace("_", " ").strip().capitalize() for name in views]


def value(tags: Iterable[str], field: str) -> str:
    """The text after 'Age:' or 'PatientID:'; '' without such a tag, or if two of them differ."""
    values = {
        text.strip()
        for name, sign, text in (tag.partition(":") for tag in tags)
        if sign and name == field
    }
    return values.pop() if len(values) == 1 else ""
