"""The allowed values of the schema are those of the code that maps them to functions."""

import pytest

from jaxcxr import optim, schema
from jaxcxr.cli.dispatch import RUNS
from jaxcxr.data import contrast, mask_sources, prepared, preprocessing
from jaxcxr.errors import InputError
from jaxcxr.explain import gradcam, lime
from jaxcxr.inference import saliency
from jaxcxr.models import MODELS
from jaxcxr.ops import patches
from jaxcxr.storage import predictions
from jaxcxr.studies import study
from jaxcxr.tasks import TASKS, network
from jaxcxr.weights import finding_scores
from tests import golden

DISPATCH = {
    "run": RUNS,
    "task": {*TASKS, "study"},
    "data.enhance": contrast.ENHANCEMENTS,
    "data.resize": preprocessing.RESIZES,
    "data.match": preprocessing.MATCHES,
    "data.lungs": preprocessing.LUNGS,
    "data.patient_key": prepared.PATIENT_KEYS,
    "masks.resize": mask_sources.RESIZES,
    "model.dtype": network.DTYPES,
    "optim.name": optim.OPTIMIZERS,
    "optim.schedule": optim.SCHEDULES,
    "predict.splits": predictions.SPLITS,
    "patches.sampling": patches.SAMPLINGS,
    "probe.combination": finding_scores.COMBINATIONS,
    "explain.split": predictions.SPLITS,
    "explain.method": saliency.TITLES,
    "explain.form": gradcam.FORMS,
    "explain.lime.segments": lime.SEGMENTS,
    "study.system": study.SYSTEMS,
}


@pytest.mark.parametrize("name", DISPATCH)
def test_allowed_values_are_those_of_the_code(name):
    fields = [f for kind in schema.KINDS.values() if isinstance(f := kind.find(name), schema.Field)]
    assert fields
    for field in fields:
        assert set(field.values) == set(DISPATCH[name])


@pytest.mark.parametrize("run", RUNS)
def test_run_modes_check_their_config_first(run, tmp_path):
    study = run == "study"
    config = golden.load("qatar_study" if study else "qatar_cnn", "")
    (config.models.cnn if study else config).optim.name = "adma"
    with pytest.raises(InputError, match=r"optim\.name='adma' is unknown; known: adam, sgd"):
        RUNS[run](config, tmp_path)
    assert not list(tmp_path.iterdir())


def test_networks_are_known_to_the_code():
    for kind in ("segment", "ensemble"):
        assert schema.config(kind).model.name in {"", *MODELS}
