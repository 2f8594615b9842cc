"""Classes of the study by the `finding` of the metadata; unlisted findings have no class ('').

Both spellings are listed: the flat ones until mid-2020 and the slash hierarchy since October 2020.
The published rows are those of FLANNEL's `get_covid_data_dict.py` (flat, matched exactly, so that
'COVID-19, ARDS' is left out) and of Patched FLANNEL (hierarchy).
"""

from __future__ import annotations

PUBLISHED = {
    "COVID-19": "covid19",
    "Pneumonia/Viral/COVID-19": "covid19",
    "SARS": "viral",
    "Pneumonia/Viral/SARS": "viral",
    "Streptococcus": "bacterial",
    "Pneumonia/Bacterial/Streptococcus": "bacterial",
    "No Finding": "normal",
}

# A fungus. The papers count it as bacterial; pneumocystis='fungal' leaves it out instead.
PNEUMOCYSTIS = ("Pneumocystis", "Pneumonia/Fungal/Pneumocystis")

# findings='extended' adds every other finding whose cause is named as a bacterium or a virus.
EXTENDED = {
    "COVID-19, ARDS": "covid19",
    "Bacterial": "bacterial",
    "Pneumonia/Bacterial": "bacterial",
    "Chlamydophila": "bacterial",
    "Pneumonia/Bacterial/Chlamydophila": "bacterial",
    "E.Coli": "bacterial",
    "Pneumonia/Bacterial/E.Coli": "bacterial",
    "Klebsiella": "bacterial",
    "Pneumonia/Bacterial/Klebsiella": "bacterial",
    "Legionella": "bacterial",
    "Pneumonia/Bacterial/Legionella": "bacterial",
    "Mycoplasma": "bacterial",
    "Mycoplasma Bacterial Pneumonia": "bacterial",
    "Pneumonia/Bacterial/Mycoplasma": "bacterial",
    "Pneumonia/Bacterial/Nocardia": "bacterial",
    "Pneumonia/Bacterial/Staphylococcus": "bacterial",
    "Pneumonia/Bacterial/Staphylococcus/MRSA": "bacterial",
    "Pneumonia/Viral": "viral",
    "Influenza": "viral",
    "Pneumonia/Viral/Influenza": "viral",
    "Pneumonia/Viral/Influenza/H1N1": "viral",
    "Herpes": "viral",
    "Pneumonia/Viral/Herpes": "viral",
    "MERS-CoV": "viral",
    "Pneumonia/Viral/MERS-CoV": "viral",
    "Varicella": "viral",
    "Pneumonia/Viral/Varicella": "viral",
}

# Findings of the collection that are no class of the study: other causes, a course without a cause,
# or no label yet.
OTHERS = (
    "ARDS",
    "Aspergillosis",
    "Aspiration",
    "Lipoid",
    "Nocardia",
    "Pneumonia",
    "Pneumonia/Aspiration",
    "Pneumonia/Fungal",
    "Pneumonia/Fungal/Aspergillosis",
    "Pneumonia/Lipoid",
    "Staphylococcus",
    "todo",
    "Tuberculosis",
    "Unknown",
)

# Entered under two patient ids, which splits by patient would tear apart: 97 and 78 with the same
# X-rays, 342 as one case of its source (SIRM 85), the others as one patient of Hannover's each (see
# `tfds_builders.hannover.patients`).
SAME_PATIENT = {"178": "97", "201": "78", "343": "342", "386": "236", "388": "245", "392": "269"}


def label_table(*, findings: str, pneumocystis: str) -> dict[str, str]:
    """Mapping from a finding to its class.

    findings: 'published' | 'extended'. pneumocystis: 'bacterial' | 'fungal'.
    """
    table = dict(PUBLISHED)
    if findings == "extended":
        table.update(EXTENDED)
    if pneumocystis == "bacterial":
        table.update(dict.fromkeys(PNEUMOCYSTIS, "bacterial"))
    return table


def known_findings() -> set[str]:
    """All findings that the collection is known to have."""
    return {*PUBLISHED, *EXTENDED, *PNEUMOCYSTIS, *OTHERS}
