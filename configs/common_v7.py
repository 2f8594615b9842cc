"""Tables of the experiments on V7 Darwin's data set."""

# The paper's two classes of images; that of the ROC comes last.
PHANTOM_CLASSES = {
    "data.classes": ("other", "ground_glass"),
    "data.relabel": ("normal=other", "consolidation=other", "interstitial=other"),
}
CLASSES = {
    "data.builders": ("tfds_builders.v7_darwin",),
    "data.classes": ("other", "covid19"),
    "data.relabel": ("normal=other", "viral=other", "bacterial=other", "pneumonia=other"),
    "data.patient_key": "strict_patient_id",
}
