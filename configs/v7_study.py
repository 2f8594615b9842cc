"""V7's diagnosis CNN on whole images, without their borders, and on the lungs alone.

Sections 5 and 6. Borders are cut by 10 and by 20 pixels.

Three trainings each, compared pair by pair on the same test images: what do letters and the rest
around the lungs do?

Paper: Zhang, "COVID-19 Chest X-ray Images: Lung Segmentation and Diagnosis using Neural Networks".
Command: python main.py --config=configs/v7_study.py
         python main.py --config=configs/v7_study.py:small --config.data.manual_dir=DATA_DIR
Time: 11 minutes (phantoms) and 57 minutes (:small, with tests and trainings beside it) on two
      CPU cores (docs/RESULTS.md).
Number to reach: the paper's accuracy is 0.9666 with 10 pixels (AUC 0.985) and with 20 (:paper;
docs/RESULTS.md says what is comparable).
"""

from ml_collections import ConfigDict

from configs import v7_diagnosis
from configs.v7_diagnosis_masked import MASKED
from jaxcxr import schema

WHOLE = {"data.cut": (0, 0, 0, 0)}
# 20 pixels of an image of 256, the paper's other trial (5.4); phantoms have 128.
CUT_WIDE = {
    "": {"data.cut": (10, 10, 0, 0)},
    "small": {"data.cut": (20, 20, 0, 0)},
    "paper": {"data.cut": (20, 20, 0, 0)},
}


def get_config(preset: str = "") -> ConfigDict:
    schema.check_preset(preset)
    diagnosis = v7_diagnosis.EXPERIMENT
    return schema.config(
        "classifiers",
        {
            "name": schema.run_name("v7_study", preset),
            "repeats": 3,
            "study.models": ("whole", "cut", "cut_wide", "masked"),
            # The effect of borders and background: each cut against the next one.
            "study.pairs": ("cut:whole", "cut_wide:cut", "masked:cut"),
        },
        models={
            "whole": diagnosis.config(preset, changed=WHOLE),
            "cut": diagnosis.config(preset),
            "cut_wide": diagnosis.config(preset, changed=CUT_WIDE[preset]),
            "masked": diagnosis.config(preset, changed=MASKED),
        },
    )
