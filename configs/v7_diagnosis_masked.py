"""The diagnosis CNN on X-rays that are black outside the lungs.

What its paper names as future work (section 6).

--config.run=compare with a run of configs/v7_diagnosis.py says what the mask changes, on the same
test images.

Paper: Zhang, "COVID-19 Chest X-ray Images: Lung Segmentation and Diagnosis using Neural Networks".
Command: python main.py --config=configs/v7_diagnosis_masked.py
         python main.py --config=configs/v7_diagnosis_masked.py:small \
             --config.data.manual_dir=DATA_DIR
Time: 2 minutes (phantoms) on two CPU cores with tests and a training beside it; :small is part of
configs/v7_study.py.
Number to reach: none is published.
"""

from ml_collections import ConfigDict

from configs import v7_diagnosis

# Everything but the lungs is black.
MASKED = {"data.lungs": "pixels", "masks.source": "dataset", "masks.on_empty": "error"}


def get_config(preset: str = "") -> ConfigDict:
    return v7_diagnosis.EXPERIMENT.config(preset, name="v7_diagnosis_masked", changed=MASKED)
