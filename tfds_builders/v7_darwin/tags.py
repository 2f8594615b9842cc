"""Meaning of V7's image tags: class of the study, finding, view, age, patient.

Images of kcx have only the type of pneumonia. Those of ccx also have its metadata, one tag per
column: 'View/AP_Supine', 'Age:65', 'PatientID:253', 'Sex/M', 'Survival/Y', 'location:Italy'. Tags
that are not named here are not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

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
# Tags that are no finding, besides those with a field ('Sex/M', 'Age:65').
_NO_FINDINGS = frozenset({"x ray", "ct", "lateral", "portable"})
_LIKE_A_FINDING = re.compile("covid|corona|sars|pneumon|healthy|normal", re.IGNORECASE)
_VIEW = re.compile(r"view[/:](?P<view>.+)", re.IGNORECASE)


def label(tags: Iterable[str]) -> str:
    """Class of the study; '' for none (fungal, undefined) and for tags that contradict each other.

    COVID-19 comes with 'Viral Pneumonia', whose more special form it is. Beside a tag that may be
    a finding and is not known there is no class either.
    """
    tags = list(tags)
    if unknown(tags):
        return ""
    classes = {_CLASSES[tag] for tag in map(attributes.same_spelling, tags) if tag in _CLASSES}
    if "covid19" in classes:
        classes.discard("viral")
    return classes.pop() if len(classes) == 1 else ""


def finding(tags: Sequence[str]) -> str:
    """Named causes ('COVID-19, ARDS'), else the type of pneumonia ('virus'), else ''.

    Tags that are not known, in quotation marks, where there are `unknown` ones.
    """
    return ", ".join(map(repr, unknown(tags))) or ", ".join(_known(tags))


def _known(tags: Iterable[str]) -> list[str]:
    there = set(map(attributes.same_spelling, tags))
    for words in (_CAUSES, _TYPES):
        if found := dict.fromkeys(word for tag, word in words.items() if tag in there):
            return list(found)
    return []


def unknown(tags: Sequence[str]) -> list[str]:
    """The tags that may be findings and are not known.

    Those that look like one ('COVID19', 'Pneumonia/Viral'); where no other tag is a finding, all
    that are neither known nor have a field.
    """
    strange = [
        tag
        for tag in tags
        if ":" not in tag and attributes.same_spelling(tag) not in (_FINDINGS | _NO_FINDINGS)
    ]
    like = [tag for tag in strange if _LIKE_A_FINDING.search(tag.partition("/")[0])]
    if like or _known(tags):
        return like
    return [tag for tag in strange if tag and "/" not in tag]


def _spelt(words: Mapping[str, str]) -> dict[str, str]:
    return {attributes.same_spelling(tag): word for tag, word in words.items()}


_CLASSES, _CAUSES, _TYPES = _spelt(CLASSES), _spelt(CAUSES), _spelt(TYPES)
_FINDINGS = frozenset({*_CLASSES, *_CAUSES, *_TYPES})


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
