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
