"""The config schema: it covers the shipped configs, makes configs, names what is wrong in one."""

import json

import pytest
from ml_collections import ConfigDict

from jaxcxr import schema
from jaxcxr.errors import InputError
from jaxcxr.inference import programs
from jaxcxr.run_modes import RUN_MODES
from jaxcxr.schema import Experiment, Field, Section
from jaxcxr.storage import run_identity
from tests import golden

KINDS = list(schema.KINDS)


def stages():
    for name in golden.CONFIGS:
        for preset in schema.PRESETS:
            for prefix, stage in schema.stages(golden.load(name, preset)):
                own = {k: v for k, v in stage.items() if not schema.holds_stages(v)}
                yield f"{name}:{preset} {prefix}", ConfigDict(own)


def test_the_schema_has_exactly_the_fields_of_every_shipped_config():
    for where, config in stages():
        expected = {name for name, _ in schema.section_of(config).flat()}
        assert set(schema.field_names(config)) == expected, where


@pytest.mark.parametrize("name", golden.CONFIGS)
@pytest.mark.parametrize("preset", schema.PRESETS)
def test_every_shipped_value_is_allowed(name, preset):
    schema.check(golden.load(name, preset))


@pytest.mark.parametrize("kind", KINDS)
def test_a_config_of_defaults_has_every_field_and_is_allowed(kind):
    config = schema.config(kind)
    assert set(schema.field_names(config)) == {name for name, _ in schema.KINDS[kind].flat()}
    schema.check(config)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_has_a_meaning_and_known_readers(kind):
    for name, field in schema.KINDS[kind].flat():
        assert field.meaning, name
        assert set(field.read_by or ()) <= set(RUN_MODES), name
        # Only what does not belong to a run's identity can be unread.
        assert field.read_by is None or not field.identity, name


def test_a_field_has_the_same_uses_in_every_kind():
    uses = {}
    for section in schema.KINDS.values():
        for name, field in section.flat():
            assert uses.setdefault(name, (field.identity, field.compiled)) == (
                field.identity,
                field.compiled,
            ), name


def test_identity_and_programs_leave_out_what_the_schema_says():
    """The lists as they were when they were kept by hand."""
    assert set(run_identity.VOLATILE) == {
        "run", "name", "workdir", "train.log_every", "train.placement", "checkpoint", "predict",
        "evaluate", "explain", "patch_counts", "lr_find", "probe", "compare", "export", "parallel",
        "data.data_dir", "data.manual_dir", "data.cache_dir", "data.max_dropped", "study.beside",
        "study.biomarkers", "study.ensembles",
    }  # fmt: skip
    assert set(programs.RUN_FIELDS) == {
        "name", "run", "seed", "repeats", "split", "checkpoint", "predict", "evaluate", "explain",
        "patch_counts", "lr_find", "probe", "compare", "export", "parallel", "study",
        "masks.workdir", "inputs.learners", "optim.learning_rate", "train.epochs",
        "train.placement", "data.options",
    }  # fmt: skip


def test_two_tables_of_a_config_set_different_fields():
    with pytest.raises(InputError, match=r"train\.epochs: set by two tables"):
        schema.config("classify", {"train.epochs": 2.0}, {"train.epochs": 3.0})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("optim.learning_rat", 1.0, r"no field config\.optim\.learning_rat.*optim\.learning_rate"),
        ("optim", 1.0, "no field config.optim"),
        ("trian.epochs", 1.0, "no field config.trian.*mean --config.train"),
        ("model.dtype", "float16", "model.dtype='float16' is unknown; known: float32, bfloat16; "
         "did you mean bfloat16"),
        ("optim.schedule", "cosin", "known: constant, cosine, milestones; did you mean cosine"),
        ("predict.splits", ("oof", "tset"), "predict.splits='tset' is unknown.*mean test"),
        ("predict.splits", "oof", "give .text, ....*brackets"),
        ("train.epochs", "many", "train.epochs='many': give a number"),
        ("train.epochs", float("nan"), "train.epochs=nan is no finite number"),
        ("train.batch_size", 8.0, "train.batch_size=8.0: give a whole number"),
        ("train.batch_size", True, "give a whole number"),
        ("patches.flip", 1, "patches.flip=1: give true or false"),
        ("model.mean", (0.5, "x"), "model.mean='x': give a number"),
        ("model.std", (0.5, 0.0), r"model.std=\(0.5, 0.0\): give above 0"),
        ("optim.weight_decay", -1.0, "optim.weight_decay=-1.0: give 0 or more"),
        ("optim.learning_rate", float("inf"), "optim.learning_rate=inf is no finite number"),
        ("optim.decay", 0.0, "optim.decay=0.0: give above 0, at most 1"),
        ("patches.max_rotation", 181.0, "give 0 or more, at most 180"),
        ("patches.eval_count", 0, "patches.eval_count=0: give 1 or more"),
        ("loss.label_smoothing", 1.0, "give 0 or more, below 1"),
        ("augment.brightness", (1.0,), r"augment.brightness=\(1.0,\): give 2 numbers"),
        ("data.cut", (0, 0), "give 4 numbers"),
        ("data.gamma", float("nan"), "data.gamma=nan is no finite number"),
        ("seed", -1, "seed=-1: give 0 or more, at most 4294967295"),
        ("repeats", 0, "repeats=0: give 1 or more"),
        ("train.monitor", "macro-f1", "train.monitor='macro-f1' is unknown.*mean macro_f1"),
        ("data.options.ccx.findings", "all", "known: published, extended"),
    ],
)  # fmt: skip
def test_a_wrong_field_or_value_is_named_where_it_is_set_and_where_it_is_checked(
    name, value, message
):
    with pytest.raises(InputError, match=message):
        schema.config("classify", {name: value})
    config = schema.config("classify")
    *sections, last = name.split(".")
    part = config
    for section in sections:
        if section not in part:
            part[section] = ConfigDict()
        part = part[section]
    object.__getattribute__(part, "_fields")[last] = value
    with pytest.raises(InputError, match=message):
        schema.check(config)


def test_whole_numbers_and_lists_become_what_the_field_is():
    config = schema.config("classify", {"train.epochs": 3, "data.classes": ["a", "b"]})
    assert config.train.epochs == 3.0 and isinstance(config.train.epochs, float)
    assert config.data.classes == ("a", "b")


def test_a_builder_of_the_users_own_has_options_of_its_own():
    config = schema.config(
        "classify",
        {"data.options.mine.side": 3, "data.options.kcx": 3} and {"data.options.mine.side": 3},
    )
    assert config.data.options.mine.side == 3
    schema.check(config)


def test_a_missing_field_is_left_to_who_reads_it():
    config = schema.config("classify")
    del config.patches.chunk
    schema.check(config)


def test_the_stages_of_a_study_are_checked_under_their_own_names():
    study = golden.load("flannel", "")
    study.learners.vgg19_bn.optim.name = "adma"
    with pytest.raises(InputError, match=r"learners\.vgg19_bn\.optim\.name='adma'.*mean adam"):
        schema.check(study)


@pytest.mark.parametrize(
    ("experiment", "run", "field", "readers"),
    [
        ("patched_densenet", "explain", "predict.inputs", "predict and enhance"),
        ("patched_densenet", "train", "explain.method", "explain"),
        ("patched_densenet", "predict", "evaluate.data.builders", "evaluate"),
        ("patched_densenet", "train", "lr_find.low", "lr_find"),
        ("fc_densenet103", "train", "predict.data.builders", "predict"),
        ("flannel", "study", "learners.vgg19_bn.explain.method", "explain"),
    ],
)
def test_a_field_that_the_run_mode_does_not_read_is_an_error(experiment, run, field, readers):
    config = golden.load(experiment, "")
    with pytest.raises(InputError, match=rf"--config\.{field} is not read by .*{run}.*{readers}:"):
        schema.check_read(config, run, [field])


@pytest.mark.parametrize(
    ("experiment", "run", "field"),
    [
        ("patched_densenet", "predict", "predict.inputs"),
        ("patched_densenet", "explain", "train.epochs"),  # of the run's identity
        ("patched_densenet", "explain", "data.manual_dir"),
        ("patched_densenet", "explain", "evaluate.batch_size"),
        ("patched_flannel", "study", "segment.predict.data.builders"),
        ("patched_flannel", "study", "parallel.coordinator"),
        ("flannel", "study", "learners.vgg19_bn.checkpoint.every_minutes"),
    ],
)
def test_a_field_that_the_run_mode_reads_is_taken(experiment, run, field):
    schema.check_read(golden.load(experiment, ""), run, [field])


def test_sections_say_for_their_fields_what_these_do_not_say():
    inner = Section({"a": Field(1, "x"), "b": Field(2, "y", read_by=("train",))})
    outer = Section({"s": inner}, read_by=("predict",), identity=False)
    fields = dict(outer.flat())
    assert fields["s.a"].read_by == ("predict",) and fields["s.b"].read_by == ("train",)
    assert not fields["s.a"].identity and fields["s.a"].compiled


def test_an_experiment_gives_each_preset_its_tables_and_its_name():
    experiment = Experiment(
        "classify", [{"seed": 1}], presets={"": [{"train.epochs": 2.0}], "big": []}
    )
    assert (experiment.config(name="mine").name, experiment.config().name) == ("mine", "")
    big = experiment.config("big", name="mine", changed={"seed": 2})
    assert (big.name, big.seed, big.train.epochs) == ("mine-big", 2, 1.0)
    with pytest.raises(InputError, match="unknown preset 'small'.*known: '', 'big'"):
        experiment.config("small")


def test_configs_are_plain_values():
    assert json.loads(schema.config("classify").to_json())["optim"]["learning_rate"] == 1e-3
