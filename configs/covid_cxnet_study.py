"""COVID-CXNet, everything in its Table 6: base model, versions 1 and 2, flat and hierarchical.

Paper: Haghanifar et al., "COVID-CXNet: Detecting COVID-19 in Frontal Chest X-ray Images using Deep
Learning" (2020).
Command: python main.py --config=configs/covid_cxnet_study.py
         python main.py --config=configs/covid_cxnet_study.py:small \
             --config.data.manual_dir=DATA_DIR
         python main.py --config=configs/covid_cxnet_study.py:paper \
             --config.data.manual_dir=DATA_DIR
Time: on two CPU cores phantoms 16 minutes, :small 96 minutes with other programs, when it still
trained a segmenter of its own, 25 of them (docs/RESULTS.md).
Number to reach: accuracies of 98.68, 99.04, 98.62, 81.04 and 87.21 % (Table 6, :paper;
docs/RESULTS.md says what is comparable).
"""

from ml_collections import ConfigDict

from configs import (
    covid_cxnet,
    covid_cxnet_base,
    covid_cxnet_lungs,
    covid_cxnet_multiclass,
    lung_unet,
)
from jaxcxr import schema
from jaxcxr.schema import Table

MODELS = ("base", "cxnet_v1", "cxnet_v2", "multiclass", "hierarchical")
# Fractions of the training patients (figure 9).
SIZES = {"": (0.25, 0.5), "small": (0.25, 0.5), "paper": (0.125, 0.25, 0.5)}


def get_config(preset: str = "") -> ConfigDict:
    return study("covid_cxnet_study", MODELS, preset)


def study(name: str, models: tuple[str, ...], preset: str) -> ConfigDict:
    """The paper's models, repeated (Table 6), and the base model on growing training sets."""
    schema.check_preset(preset)
    return schema.config(
        "classifiers",
        {
            "name": schema.run_name(name, preset),
            "repeats": 10 if preset == "paper" else 1,  # the paper's ranges are over ten
            "study.models": models,
            # Phantoms bring their own; :small looks at the ready-made ones.
            "study.lungs": preset == "paper",
            "study.training_sizes": SIZES[preset] if "base" in models else (),
            "study.training_sizes_of": "base",
        },
        segment=lung_unet.EXPERIMENT.config(preset),
        models={
            "base": covid_cxnet_base.EXPERIMENT.config(preset),
            "cxnet_v1": covid_cxnet.EXPERIMENT.config(preset),
            "cxnet_v2": covid_cxnet_lungs.EXPERIMENT.config(preset, changed=_lungs(preset)),
            "multiclass": covid_cxnet_multiclass.EXPERIMENT.config(preset, changed=_lungs(preset)),
            "hierarchical": levels(preset, changed=_lungs(preset)),
        },
    )


def _lungs(preset: str) -> dict[str, str]:
    """The lungs of the study's own segmenter, in :paper."""
    return {"masks.source": "workdir"} if preset == "paper" else {}


def levels(preset: str, *, changed: Table | None = None) -> dict[str, ConfigDict]:
    """The hierarchical model (paper 5.3): normal against pneumonia, then the two pneumonias."""
    multiclass = covid_cxnet_multiclass.EXPERIMENT
    normal, cap, covid19 = multiclass.config(preset).data.classes
    targets = {
        "level1": (f"{normal}={normal}", f"{cap}=pneumonia", f"{covid19}=pneumonia"),
        "level2": (f"{normal}=", f"{cap}={cap}", f"{covid19}={covid19}"),
    }
    paper = {  # Table 6
        "level1": {"optim.learning_rate": 1e-4, "train.epochs": 10.0},
        "level2": {"optim.learning_rate": 1e-4, "train.epochs": 20.0},
    }
    return {
        level: multiclass.config(
            preset,
            changed={
                "model.outputs": "sigmoid",
                "data.targets": targets[level],
                **(paper[level] if preset == "paper" else {}),
                **(changed or {}),
            },
        )
        for level in targets
    }
