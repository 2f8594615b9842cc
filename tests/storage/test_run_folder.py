"""Run folders belong to one configuration and to one process at a time, and remember both."""

from __future__ import annotations

import calendar
import contextlib
import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import ml_collections
import numpy as np
import pytest

import jaxcxr
from jaxcxr.errors import InputError
from jaxcxr.storage import files, folder_lock, provenance, run_config
from jaxcxr.storage.folder_lock import LOCK
from jaxcxr.storage.provenance import upstream
from jaxcxr.storage.run_folder import RunFolder

CONFIG = {
    "run": "train",
    "seed": 0,
    "model": {"name": "densenet161"},
    "optim": {"learning_rate": 1e-3, "milestones": (0.5, 0.75)},
    "train": {"epochs": 2.0, "log_every": 10},
    "predict": {"splits": ("oof", "test")},
}


def changed(**fields) -> dict:
    """CONFIG with dotted fields (written with __) replaced or added."""
    config = json.loads(json.dumps(CONFIG))
    for name, value in fields.items():
        *parents, last = name.split("__")
        section = config
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = value
    return config


# The configuration of a folder.


def test_the_same_configuration_opens_the_folder_again(tmp_path):
    for _ in range(2):
        with RunFolder.open(tmp_path / "run", CONFIG) as folder:
            folder.claim()
            assert files.read_json(folder.path / "config.json")["optim"]["milestones"] == [
                0.5,
                0.75,
            ]
    with RunFolder.open(tmp_path / "run", ml_collections.ConfigDict(CONFIG)):
        pass


def test_another_configuration_is_refused_with_the_difference(tmp_path):
    with RunFolder.open(tmp_path / "run", CONFIG) as folder:
        folder.claim()
    before = (tmp_path / "run" / "config.json").read_bytes()
    config = changed(optim__learning_rate=1e-4, train__balance="class", seed=1)
    config["train"]["epoch"] = config["train"].pop("epochs")
    with pytest.raises(InputError) as error:
        RunFolder.open(tmp_path / "run", config)
    lines = [line.strip() for line in str(error.value).splitlines()]
    assert lines[0].endswith(
        "run contains a run with a different configuration (config.json: - existing, + requested):"
    )
    assert lines[1:-1] == [
        "- optim.learning_rate = 0.001",
        "+ optim.learning_rate = 0.0001",
        "- seed = 0",
        "+ seed = 1",
        "+ train.balance = 'class'",
        "+ train.epoch = 2.0   (the other side has train.epochs)",
        "- train.epochs = 2.0   (the other side has train.epoch)",
    ]
    assert "--workdir" in lines[-1]
    assert (tmp_path / "run" / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    "fields", [{"run": "predict"}, {"train__log_every": 1}, {"predict__splits": ["train"]}]
)
def test_what_does_not_change_the_result_may_change(tmp_path, fields):
    with RunFolder.open(tmp_path / "run", CONFIG) as folder:
        folder.claim()
    with RunFolder.open(tmp_path / "run", changed(**fields)) as folder:
        assert folder.path == tmp_path / "run"
    with RunFolder.open(tmp_path / "study", {"learners": {"vgg": CONFIG}}) as folder:
        folder.claim()
    with RunFolder.open(tmp_path / "study", {"learners": {"vgg": changed(**fields)}}) as folder:
        assert folder.path == tmp_path / "study"


@pytest.mark.parametrize("field", ["model__name", "masks__workdir"])
def test_a_field_that_is_called_like_one_of_the_run_changes_the_result(tmp_path, field):
    for config, other in (
        (changed(**{field: "a"}), changed(**{field: "b"})),
        (
            {"run": "study", "learners": {"vgg": changed(**{field: "a"})}},
            {"run": "study", "learners": {"vgg": CONFIG}},
        ),
    ):
        with RunFolder.open(tmp_path / str(len(config)), config) as folder:
            folder.claim()
        with pytest.raises(InputError, match="different configuration"):
            RunFolder.open(tmp_path / str(len(config)), other)


def test_a_damaged_config_is_named(tmp_path):
    with RunFolder.open(tmp_path, CONFIG) as folder:
        folder.claim()
    (tmp_path / "config.json").write_text("{")
    for _ in range(2):  # and the lock was given back
        with pytest.raises(InputError, match=r"config\.json is damaged"):
            RunFolder.open(tmp_path, CONFIG)


def test_an_inactive_process_writes_nothing(tmp_path):
    with (
        RunFolder.open(tmp_path / "run", CONFIG, active=False) as folder,
        RunFolder.open(tmp_path / "run", CONFIG, active=False),
    ):
        folder.write_text("a.txt", "a")
        folder.write_manifest({"seed": 1})
        folder.mark_finished("train")
        folder.add_timing("train", seconds=1.0)
    assert not (tmp_path / "run").exists()


# One process at a time.

_HOLD = """
import sys, time
from jaxcxr.storage.run_folder import RunFolder
with RunFolder.open(sys.argv[1], {}):
    if sys.argv[2] == "fork":
        import os
        if not os.fork():
            time.sleep(60)
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("workers", ["alone", "fork"])
def test_a_second_process_is_told_who_is_at_work_until_that_one_dies(tmp_path, workers):
    root = str(Path(jaxcxr.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path / "run"), workers],
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match=f"run is in use by process {process.pid} on "):
            RunFolder.open(tmp_path / "run", {})
        process.kill()  # kill -9: the lock goes with it, even if its workers live on
        process.wait()
        with RunFolder.open(tmp_path / "run", {}):
            pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
        process.stdout.close()


def test_a_folder_is_opened_once_in_a_process(tmp_path):
    with (
        RunFolder.open(tmp_path, {}),
        pytest.raises(InputError, match=f"this very process \\({os.getpid()}\\)"),
    ):
        RunFolder.open(tmp_path, {})
    with RunFolder.open(tmp_path, {}):
        pass


def test_rests_of_dead_processes_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    rests = [tmp_path / "masks" / f".a.png.{pid}.tmp" for pid in (dead.pid, os.getppid())]
    for rest in rests:
        files.write_bytes(rest, b"half")
    with RunFolder.open(tmp_path, {}):
        assert [rest.exists() for rest in rests] == [False, True]


# The manifest, what is finished, and times.


def test_the_manifest_tells_versions_machine_command_and_time(tmp_path):
    with RunFolder.open(tmp_path, {}) as folder:
        folder.write_manifest({"task": "classify", "seed": np.int64(3)})
        manifest = folder.read_json("manifest.json")
    assert (manifest["task"], manifest["seed"]) == ("classify", 3)
    assert manifest["versions"]["numpy"] == np.__version__
    assert all(manifest["versions"].values())
    assert {
        "jax",
        "jaxlib",
        "orbax-checkpoint",
        "pillow",
        "opencv-python-headless",
        "pydicom",
    } <= set(manifest["versions"])
    assert manifest["python"].split(".")[:2] == [str(v) for v in sys.version_info[:2]]
    assert manifest["cpus"] == os.cpu_count()
    assert manifest["command"].startswith("python ")
    assert abs(time.time() - _seconds(manifest["time"])) < 60
    assert manifest["platform"]
    assert "earlier_starts" not in manifest


def _seconds(text: str) -> float:
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


def test_a_resumed_run_remembers_its_earlier_starts(tmp_path, monkeypatch):
    with RunFolder.open(tmp_path, {}) as folder:
        for version in ("3.11", "3.12", "3.13"):
            monkeypatch.setattr(provenance.platform, "python_version", lambda v=version: v)
            folder.write_manifest({"seed": 0})
        manifest = folder.read_json("manifest.json")
    assert manifest["python"] == "3.13"
    assert [start["python"] for start in manifest["earlier_starts"]] == ["3.11", "3.12"]


def test_a_run_whose_inputs_changed_is_not_resumed(tmp_path):
    mask = tmp_path / "index.json"
    mask.write_text("a")

    def fields(fingerprint="f1", split="s1"):
        return {
            "dataset": {"fingerprint": fingerprint},
            "split": {"sha256": split},
            "upstream": [upstream(mask)],
            "seed": 0,
        }

    with RunFolder.open(tmp_path / "run", {}) as folder:
        folder.write_manifest(fields())
        before = (folder.path / "manifest.json").read_bytes()
        for other in (fields(fingerprint="f2"), fields(split="s2")):
            with pytest.raises(
                InputError, match=r"have changed since the run began.*\n  - .*1'\n  \+ "
            ):
                folder.write_manifest(other)
        mask.write_text("b")
        with pytest.raises(InputError, match=r"- upstream\.0 \(index\.json\) = 'ca978112"):
            folder.write_manifest(fields())
        assert (folder.path / "manifest.json").read_bytes() == before


def test_upstream_is_the_hash_of_a_file_or_of_a_folders_manifest(tmp_path):
    files.write_bytes(tmp_path / "run" / "manifest.json", b"abc")
    expected = {"path": str(tmp_path / "run" / "manifest.json"), "sha256": "ba7816bf8f01cfea"}
    for path in (tmp_path / "run", tmp_path / "run" / "manifest.json"):
        found = upstream(path)
        assert {**found, "sha256": found["sha256"][:16]} == expected
    with pytest.raises(InputError, match="masks.* does not exist: finish the run"):
        upstream(tmp_path / "masks" / "index.json")


def test_finished_stages_are_remembered(tmp_path):
    with RunFolder.open(tmp_path, {}) as folder:
        assert not folder.is_finished("train")
        folder.mark_finished("fit")
        folder.mark_finished("train", {"split_sha256": "abc"})
    with RunFolder.open(tmp_path, {}) as folder:
        assert folder.is_finished("train")
        assert folder.is_finished("fit")
        assert not folder.is_finished("checksums")
        assert folder.finished_info("train")["split_sha256"] == "abc"


def test_times_are_kept_per_stage(tmp_path):
    with RunFolder.open(tmp_path, {}) as folder:
        folder.add_timing("train", seconds=2.0, images=10, patches=100)
        folder.add_timing("predict", seconds=0.0)
        folder.add_timing("train", seconds=4.0, images=10, patches=100)
    assert files.read_json(tmp_path / "timings.json")["stages"] == {
        "train": {"seconds": 4.0, "images": 10, "patches": 100, "patches_per_second": 25.0},
        "predict": {"seconds": 0.0, "images": 0, "patches": 0, "patches_per_second": None},
    }


# A start that fails leaves no trace.


def test_opening_writes_no_configuration_and_an_unclaimed_folder_goes(tmp_path):
    with RunFolder.open(tmp_path / "a" / "run", CONFIG) as folder:
        assert os.listdir(folder.path) == [".lock"]
    assert os.listdir(tmp_path) == []
    (tmp_path / "mine").mkdir()
    with RunFolder.open(tmp_path / "mine", CONFIG):
        pass
    assert os.listdir(tmp_path / "mine") == []


def test_a_start_that_fails_leaves_the_folder_to_the_corrected_command(tmp_path):
    with pytest.raises(InputError), RunFolder.open(tmp_path / "run", CONFIG) as folder:
        folder.write_manifest({"seed": 0})
        folder.write_text("overlays/a.txt", "a")
        raise InputError("weights are missing")
    assert os.listdir(tmp_path) == []
    with RunFolder.open(tmp_path / "run", changed(seed=1)) as folder:
        folder.claim()


def test_what_took_long_to_make_is_kept_when_a_start_fails(tmp_path):
    with pytest.raises(InputError), RunFolder.open(tmp_path / "run", CONFIG) as folder:
        folder.mark_finished("fit")
        raise InputError("the disk is full")
    assert sorted(os.listdir(tmp_path / "run")) == [".lock", "config.json", "finished.json"]


def test_files_of_others_survive_a_start_that_fails(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError), RunFolder.open(tmp_path, CONFIG) as folder:
        folder.claim()
        raise InputError("no")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_stage_claims_the_study_around_it(tmp_path):
    with RunFolder.open(tmp_path / "study", {"seed": 1}) as study:
        with RunFolder.open(study.path / "segment", CONFIG):
            pass
        assert os.listdir(study.path) == [".lock"]
        with RunFolder.open(study.path / "segment", CONFIG) as stage:
            stage.claim()
        assert (study.path / "config.json").exists()


# Folders that cannot be.


def _paths(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "file").write_text("a")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    return {
        "file is a file": tmp_path / "file",
        "file is a file ": tmp_path / "file" / "run" / "deep",
        "dangling is a link to .*gone, which does not exist": tmp_path / "dangling",
        "loop is a link to .*loop, which does not exist": tmp_path / "loop" / "run",
        "File name too long": tmp_path / ("x" * 300),
    }


def test_a_workdir_that_cannot_be_a_folder_is_one_line_that_says_why(tmp_path):
    for says, path in _paths(tmp_path).items():
        with pytest.raises(
            InputError, match=rf"--workdir=.* cannot be a run folder: .*{says.strip()}"
        ) as error:
            RunFolder.open(path, CONFIG)
        assert "\n" not in str(error.value)


@pytest.fixture
def read_only(tmp_path, monkeypatch):
    """A claimed folder on a disk that can only be read: what would write fails as there."""
    with RunFolder.open(tmp_path / "run", CONFIG) as folder:
        folder.mark_finished("fit")
        folder.mark_finished("train")
    real = os.open

    def refuse(path, flags, *arguments, **options):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return real(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    return tmp_path / "run"


def test_a_folder_on_a_read_only_disk_is_read_without_a_lock_and_not_claimed(read_only):
    with RunFolder.open(read_only, CONFIG) as folder, RunFolder.open(read_only, CONFIG):
        assert folder.read_only and folder.is_finished("train")
        for write in (
            folder.claim,
            lambda: folder.write_text("a", "a"),
            lambda: folder.write_manifest({}),
        ):
            with pytest.raises(
                InputError, match=r"run cannot be written: Read-only file system\. Copy it"
            ):
                write()
    with pytest.raises(InputError, match="different configuration"):
        RunFolder.open(read_only, changed(seed=1))


def test_a_disk_without_locks_is_said_to_have_none(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(folder_lock.fcntl, "lockf", refuse)
    with pytest.raises(InputError, match=r"run cannot be locked \(No locks available\)"):
        RunFolder.open(tmp_path / "run", CONFIG)


# Paths may change.


@pytest.fixture
def study(tmp_path) -> Path:
    """A study folder with a stage that reads masks of another."""
    (tmp_path / "study" / "segment").mkdir(parents=True)
    config = changed(masks__workdir=str(tmp_path / "study" / "segment"))
    with RunFolder.open(tmp_path / "study" / "learners" / "a", config) as folder:
        folder.claim()
    return tmp_path / "study"


def test_a_stage_is_the_same_by_any_path_to_its_inputs(study, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(study)
    monkeypatch.chdir(tmp_path)
    for root in (Path("study"), tmp_path / "link", Path("study/../link"), study):
        config = changed(masks__workdir=str(root / "segment"))
        with RunFolder.open(root / "learners" / "a", config) as folder:
            assert folder.config()["masks"]["workdir"]
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match=r"\+ masks.workdir = '.*other'"):
        RunFolder.open(study / "learners" / "a", changed(masks__workdir=str(tmp_path / "other")))


def test_the_same_masks_elsewhere_are_the_same_run(study, tmp_path):
    index = study / "segment" / "masks" / "index.json"
    files.write_bytes(index, b"{}")
    config = changed(masks__workdir=str(study / "segment"))
    with RunFolder.open(study / "learners" / "a", config) as folder:
        folder.write_manifest({"upstream": [upstream(index)]})
    (study / "segment").rename(tmp_path / "masks of all")
    config = changed(masks__workdir=str(tmp_path / "masks of all"))
    with RunFolder.open(study / "learners" / "a", config):
        pass
    files.write_bytes(tmp_path / "masks of all" / "masks" / "index.json", b"[]")
    with pytest.raises(InputError, match="different configuration"):
        RunFolder.open(study / "learners" / "a", config)


def test_a_moved_stage_finds_what_moved_along(study, tmp_path):
    study.rename(tmp_path / "new")
    config = changed(masks__workdir=str(tmp_path / "new" / "segment"))
    with RunFolder.open(tmp_path / "new" / "learners" / "a", config) as folder:
        assert folder.config()["masks"]["workdir"] == str(tmp_path / "new" / "segment")


def test_a_folder_of_an_earlier_version_is_read(tmp_path):
    files.write_json(tmp_path / "config.json", {**CONFIG, "masks": {"workdir": "study/segment"}})
    with RunFolder.open(tmp_path, {**CONFIG, "masks": {"workdir": "study/segment"}}) as folder:
        assert folder.config()["masks"] == {"workdir": "study/segment"}


def test_the_manifest_names_a_studys_files_from_the_stage(tmp_path):
    files.write_bytes(tmp_path / "study" / "segment" / "index.json", b"abc")
    files.write_bytes(tmp_path / "else.json", b"abc")
    paths = (tmp_path / "study" / "segment" / "index.json", tmp_path / "else.json")
    with (
        RunFolder.open(tmp_path / "study", {}),
        RunFolder.open(tmp_path / "study" / "learners" / "a", CONFIG) as folder,
    ):
        folder.write_manifest({"upstream": [upstream(path) for path in paths]})
        found = [entry["path"] for entry in folder.read_json("manifest.json")["upstream"]]
    assert found == ["../../segment/index.json", str(tmp_path / "else.json")]


# The source.


def test_the_manifest_tells_the_commit_and_whether_the_source_was_changed(tmp_path):
    def git(*arguments: str) -> str:
        author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        command = ["git", "-C", str(tmp_path), *author, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    nothing = {"version": jaxcxr.__version__, "commit": None, "changed": None}
    assert provenance.source(tmp_path) == nothing  # installed, not checked out
    files.write_text(tmp_path / "jaxcxr" / "a.py", "a = 1\n")
    git("init", "-q")
    provenance.source.cache_clear()
    assert provenance.source(tmp_path) == nothing  # no commit yet
    git("add", ".")
    git("commit", "-qm", "a")
    files.write_text(tmp_path / "notes.txt", "no code")
    for changed in (False, True):
        provenance.source.cache_clear()
        found = provenance.source(tmp_path)
        assert found == {
            "version": jaxcxr.__version__,
            "commit": git("rev-parse", "HEAD"),
            "changed": changed,
        }
        files.write_text(tmp_path / "jaxcxr" / "a.py", "a = 2\n")


def test_the_source_is_looked_for_where_the_package_lies():
    assert (provenance._ROOT / "jaxcxr" / "storage" / "provenance.py").exists()


def test_without_git_the_version_is_told(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.source(tmp_path) == {
        "version": jaxcxr.__version__,
        "commit": None,
        "changed": None,
    }


# What the files say.


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("finished.json", "[]"),
        ("finished.json", '{"train": 5}'),
        ("finished.json", '{"Fit": {}}'),  # one bit
        ("finished.json", '{"train": {}}'),
        ("finished.json", '{"train": {}}'),
        ("timings.json", '{"stages": {"train": {"seconds": "1", "images": 1, "patches": 1}}}'),
        ("training.json", '{"step": 1e999}'),
        ("training.json", '{"step": true}'),
        ("manifest.json", '{"upstream": [{"path": 3}]}'),
        ("manifest.json", "null"),
        ("stages.json", '{"a": {"inputs": {"b": 1}, "seconds": 1}}'),
        ("other.json", "[" * 500 + "]" * 500),
    ],
)
def test_a_file_of_another_shape_is_damaged(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with (
        RunFolder.open(tmp_path, CONFIG) as folder,
        pytest.raises(InputError, match=rf"{name} is damaged \("),
    ):
        folder.read_json(name)


@pytest.mark.parametrize(
    "content",
    [
        '{"task": "classify", "run": "train", "parallel": "x"}',
        '{"task": "classify", "run": "train", "optim": {"a.b": 1}}',
        '{"task": "classify", "run": "train", "optim.l1": 1}',
        '{"task": "classify", "run": "train", "data": {"data_dir": "/a\\u0000b"}}',
        '{"task": "classify", "run": "train", "": 1}',
    ],
)
def test_a_config_that_no_run_can_have_is_damaged(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json is damaged \("):
        run_config.read(tmp_path)


@pytest.mark.parametrize("name", ["run [2024]", "a]", "back\\slash"])
def test_a_path_in_which_checkpoints_cannot_be_written_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"has .* in its path, where checkpoints cannot be writ"):
        RunFolder.open(tmp_path / name / "run", {})
    assert not list(tmp_path.iterdir())


def test_a_start_that_fails_in_any_way_leaves_the_folder_to_the_corrected_command(tmp_path):
    with pytest.raises(KeyError), RunFolder.open(tmp_path / "run", {"seed": 1}) as folder:
        folder.claim()
        raise KeyError("a mistake of ours")
    RunFolder.open(tmp_path / "run", {"seed": 2}).close()


def test_what_others_put_there_meanwhile_survives_a_start_that_fails(tmp_path):
    with pytest.raises(InputError), RunFolder.open(tmp_path / "run", CONFIG) as folder:
        folder.claim()
        folder.write_text("overlays/a.txt", "a")
        (folder.path / "my_xrays").mkdir()
        (folder.path / "my_xrays" / "notes.txt").write_text("mine")
        other = RunFolder.open(folder.path / "fold1", CONFIG)  # another process's
        other.write_text("metrics.jsonl", "")
        raise InputError("the weights do not fit")
    other.close()
    names = {p.relative_to(tmp_path / "run").as_posix() for p in (tmp_path / "run").rglob("*")}
    assert {"my_xrays/notes.txt", "fold1/metrics.jsonl", "fold1/config.json"} <= names
    assert not names & {"config.json", "overlays"}


@pytest.mark.parametrize("mode", ["predict", "evaluate", "explain", "export"])
def test_a_run_that_is_read_with_another_configuration_needs_none(tmp_path, mode):
    """Nothing of a finished run may be deleted by whoever follows the message."""
    with RunFolder.open(tmp_path, CONFIG) as folder:
        folder.claim()
    with pytest.raises(InputError, match="different configuration") as caught:
        RunFolder.open(tmp_path, changed(seed=1) | {"run": mode})
    assert "leave out --config" in str(caught.value)
    assert f"--config.run={mode} --workdir={tmp_path}" in str(caught.value)
    assert "delete" not in str(caught.value)


def test_the_command_that_is_told_leaves_out_what_was_refused(tmp_path, monkeypatch):
    with RunFolder.open(tmp_path, CONFIG) as folder:
        folder.claim()
    typed = ["main.py", "--config=x", "--config.run=predict", "--config.data.image_size=512",
             "--config.predict.inputs=a"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", typed)
    other = CONFIG | {"data": {"image_size": 512}, "run": "predict"}
    with pytest.raises(InputError, match="different configuration") as caught:
        RunFolder.open(tmp_path, other)
    told = str(caught.value).splitlines()[-1]
    assert "--config.predict.inputs=a" in told and "image_size" not in told


def test_a_lock_that_was_removed_while_it_was_taken_is_taken_again(tmp_path, monkeypatch):
    """Its holder's last act: a lock of a file that has no name any more would bind nobody."""
    opened = []
    real = folder_lock.fcntl.lockf

    def lockf(descriptor, kind):
        real(descriptor, kind)
        if not opened:
            (tmp_path / LOCK).unlink()
        opened.append(descriptor)

    monkeypatch.setattr(folder_lock.fcntl, "lockf", lockf)
    with RunFolder.open(tmp_path, CONFIG):
        assert len(opened) == 2
        assert os.path.samestat(os.fstat(opened[1]), os.stat(tmp_path / LOCK))
