"""v7_darwin: classes, findings and views from V7's tags."""

from __future__ import annotations

import pytest

from tfds_builders.v7_darwin import tags


@pytest.mark.parametrize(
    "names, label, finding",
    [
        (("COVID-19", "Viral Pneumonia", "X-ray"), "covid19", "COVID-19"),
        (("ARDS", "Viral Pneumonia", "COVID-19"), "covid19", "COVID-19, ARDS"),
        (("Viral Pneumonia",), "viral", "virus"),
        (("Viral Pneumonia", "SARS"), "viral", "SARS"),
        (("Viral Pneumonia", "Varicella"), "viral", "Varicella"),
        (("Bacterial Pneumonia",), "bacterial", "bacteria"),
        (("Bacterial Pneumonia", "Streptococcus"), "bacterial", "Streptococcus"),
        (("No Pneumonia (healthy)",), "normal", "normal"),
        (("No Pneumonia (healthy)", "No Finding"), "normal", "No Finding"),
        (("Fungal Pneumonia", "Pneumocystis"), "", "Pneumocystis"),
        (("Undefined Pneumonia", "Pneumonia"), "", "Pneumonia"),
        (("Lipoid pneumonia",), "", "Lipoid"),
        (("Bacterial Pneumonia", "Viral Pneumonia"), "", "bacteria, virus"),  # they contradict
        (("COVID-19", "No Pneumonia (healthy)"), "", "COVID-19"),
        (("Sex/M", "location:Italy"), "", ""),
    ],
)
def test_tags_give_class_and_finding(names, label, finding):
    for order in (names, names[::-1]):
        assert (tags.label(order), tags.finding(order)) == (label, finding)


@pytest.mark.parametrize(
    "names, view, reason",
    [
        (("View/PA", "X-ray"), "PA", None),
        (("View/AP",), "AP", None),
        (("View/AP_Supine",), "AP Supine", None),
        (("view:PA",), "PA", None),
        (("Portable", "X-ray"), "", None),
        ((), "", None),
        (("View/Lateral", "X-ray"), "", "view Lateral"),
        (("view:lateral",), "", "view Lateral"),
        (("Lateral",), "", "view Lateral"),
        (("CT", "View/Axial"), "", "modality CT"),
        (("View/Coronal",), "", "view Coronal"),
    ],
)
def test_tags_give_the_view_or_why_an_image_is_no_frontal_x_ray(names, view, reason):
    rejected = tags.reject_reason(names)
    assert (tags.view(names), rejected and rejected.text) == (view, reason)
    assert rejected is None or not rejected.is_fault


@pytest.mark.parametrize(
    "names, age, patient",
    [
        (("Age:65", "PatientID:331b", "Sex/M"), "65", "331b"),
        (("Age: 65 ",), "65", ""),
        (("Age:65", "Age:66"), "", ""),  # they contradict
        (("Age", "PatientID"), "", ""),
    ],
)
def test_tags_with_a_colon_have_a_value(names, age, patient):
    assert (tags.value(names, "Age"), tags.value(names, "PatientID")) == (age, patient)


@pytest.mark.parametrize(
    "names, label, finding",
    [
        (("viral  pneumonia",), "viral", "virus"),
        (("Viral_Pneumonia", "covid-19"), "covid19", "COVID-19"),
        (("no_pneumonia_(healthy)",), "normal", "normal"),
    ],
)
def test_tags_are_read_in_any_spelling_of_blanks(names, label, finding):
    assert (tags.label(names), tags.finding(names)) == (label, finding)
    assert not tags.unknown(names)


@pytest.mark.parametrize(
    "names, unknown",
    [
        (("No Pneumonia", "X-ray", "Sex/M"), ["No Pneumonia"]),
        (("COVID19", "Viral Pneumonia"), ["COVID19"]),  # a case of COVID-19, and not just viral
        (("Pneumonia/Viral/COVID-19",), ["Pneumonia/Viral/COVID-19"]),
        (("virus",), ["virus"]),
        (("Atelectasis", "Portable"), ["Atelectasis"]),
        (("Atelectasis", "COVID-19"), []),
        (("X-ray", "Survival/Y", "location:Normal, Illinois"), []),
    ],
)
def test_a_tag_that_may_be_a_finding_and_is_not_known_gives_no_class(names, unknown):
    assert tags.unknown(names) == unknown
    if unknown:
        assert (tags.label(names), tags.finding(names)) == ("", ", ".join(map(repr, unknown)))
