import dataclasses
import errno
import inspect
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxcxr import schema
from jaxcxr.data import (
    builders,
    dropped,
    label_counts,
    label_map,
    locking,
    open_dataset,
    output_classes,
    prepared,
    target_map,
    with_default_dirs,
)
from jaxcxr.data.dropped import Dropped
from jaxcxr.errors import InputError
from tests.data.fake_cxr.fake_cxr_dataset_builder import Builder, image_of, png
from tests.data.fakes import data_config
from tfds_builders.phantom_cxr import phantom_cxr_dataset_builder as phantom


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


def test_images_come_ordered_by_id_with_their_own_pixels(folder):
    dataset = open_dataset(data_config(folder))
    assert dataset.ids.tolist() == sorted(dataset.ids)
    assert dataset.patient_ids[:3].tolist() == ["fake-p0", "fake-p1", "fake-p1"]
    assert dataset.labels[:4].tolist() == [0, 1, 1, 0]
    assert dataset.labels.dtype == np.int32
    np.testing.assert_array_equal(dataset.image(2), image_of(1, 1))
    assert dataset.mask_names == {"lung", "heart"}


def test_images_without_a_class_are_dropped_and_counted_as_are_those_of_the_builder(folder):
    for _ in range(2):
        dataset = open_dataset(data_config(folder))
        assert len(dataset) == 10
        assert dataset.dropped == {
            "fake_cxr: lateral": Dropped(3),
            "fake_cxr: no class of the study: Lipoid": Dropped(2, ("fake-p7_0", "fake-p7_1")),
        }


def test_without_classes_everything_is_kept_with_label_0(folder):
    dataset = open_dataset(data_config(folder, classes=()))
    assert len(dataset) == 12
    assert dataset.labels.tolist() == [0] * 12


def test_tensorflow_is_not_needed(folder):
    open_dataset(data_config(folder))
    assert "tensorflow" not in sys.modules


def test_opening_again_reads_the_cached_table_only(folder, monkeypatch, capsys):
    first = open_dataset(data_config(folder))
    monkeypatch.setattr(prepared, "_read_table", None)
    capsys.readouterr()
    again = open_dataset(data_config(folder))
    assert again.fingerprint == first.fingerprint
    assert capsys.readouterr().out == ""


def test_preparing_says_so_once_and_nothing_else(tmp_path, capsys):
    open_dataset(data_config(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and lines[0].startswith("preparing fake_cxr in ")


def test_strict_patient_key_merges_patients(folder):
    dataset = open_dataset(data_config(folder, patient_key="strict_patient_id"))
    assert dataset.patient_ids[0] == dataset.patient_ids[1] == "fake-p0"


def test_limit_takes_at_most_so_many_images(folder):
    assert len(open_dataset(data_config(folder, limit=5))) <= 5


def test_images_of_other_sources_are_left_out_and_counted(folder):
    every = open_dataset(data_config(folder))
    assert open_dataset(data_config(folder, sources=("fake",))).fingerprint == every.fingerprint
    with pytest.raises(InputError, match="names kcx, and the images are of fake"):
        open_dataset(data_config(folder, sources=("kcx",)))
    sources = np.where(np.arange(len(every)) < 3, "kcx", "fake")
    mixed = dataclasses.replace(every, sources=sources)
    some = builders.of_sources(mixed, ("kcx",))
    assert some.ids.tolist() == every.ids[:3].tolist()
    reason = "source fake is not in data.sources"
    assert some.dropped[reason] == Dropped(len(every) - 3, tuple(every.ids[3:6]))
    assert (
        not some.dropped[reason].is_fault and some.dropped.keys() - {reason} == every.dropped.keys()
    )


def test_several_builders_are_joined_and_may_not_share_ids(folder):
    twice = ("tests.data.fake_cxr", "tests.data.fake_cxr")
    with pytest.raises(InputError, match="12 ids occur more than once"):
        open_dataset(data_config(folder, builders=twice))


def test_labels_become_classes_and_some_are_left_out(folder):
    plain = open_dataset(data_config(folder))
    merged = open_dataset(
        data_config(folder, classes=("all",), relabel=("normal=all", "covid19=all"))
    )
    assert merged.ids.tolist() == plain.ids.tolist() and not merged.labels.any()
    some = open_dataset(data_config(folder, classes=("sick",), relabel=("normal=", "covid19=sick")))
    assert some.ids.tolist() == plain.ids[plain.labels == 1].tolist()
    without = some.dropped["fake_cxr: no class of the study: normal"]
    assert without == Dropped((plain.labels == 0).sum(), tuple(plain.ids[plain.labels == 0][:3]))


def test_what_a_run_learns_follows_its_targets():
    section = data_config(".", classes=("a", "b", "c"))
    assert output_classes(section) == ("a", "b", "c")
    section.targets = ("a=", "b=y", "c=x")
    assert output_classes(section) == ("y", "x") and target_map(section) == {
        "a": "",
        "b": "y",
        "c": "x",
    }
    section.targets = ("a=x", "b=x")
    with pytest.raises(InputError, match=r"data\.targets must map each of data\.classes"):
        output_classes(section)


def test_joined_examples_keep_their_pixels_and_common_masks(folder):
    left, right = (
        open_dataset(data_config(folder, options={"fake_cxr": {"prefix": prefix}}))
        for prefix in ("b", "a")
    )
    tables = [
        {
            "id": d.ids,
            "patient_id": d.patient_ids,
            "label": np.array(d.classes)[d.labels],
            "finding": d.findings,
            "view": d.views,
            "source": d.sources,
            "age_group": d.age_groups,
            "image": d.image_hashes,
            **{f"mask_{name}": column for name, column in d.mask_hashes.items()},
        }
        for d in (left, right)
    ]
    del tables[1]["mask_heart"]
    examples = [[d.examples[int(row)] for row in d.rows] for d in (left, right)]
    parts = [
        prepared.PreparedSet(
            name=name,
            table=table,
            examples=its,
            dropped={},
            notices=(),
            unknown_findings=frozenset(),
        )
        for name, table, its in zip("ba", tables, examples, strict=True)
    ]
    joined = builders._concatenate(
        parts, left.classes, relabel={}, patient_key="patient_id", max_dropped=0
    )
    assert len(joined) == 20
    # Both draw the same pictures: who has one is the patient who has the other.
    assert joined.patient_ids[10:].tolist() == joined.patient_ids[:10].tolist()
    assert joined.notices[0].startswith("7 patients share an image, byte for byte, with")
    assert joined.ids[0].startswith("b-") and joined.ids[10].startswith("a-")
    assert joined.mask_names == {"lung"}
    np.testing.assert_array_equal(joined.image(12), right.image(2))


@pytest.mark.parametrize("labels, word", [("normal\nflu\n", "'flu' of fake-p1_0")])
def test_a_label_outside_the_classes_is_named_with_its_image(tmp_path, labels, word):
    config = manual_config(tmp_path, labels)
    with pytest.raises(InputError, match=word):
        open_dataset(config)


def manual_config(tmp_path, labels):
    (tmp_path / "manual" / "fake").mkdir(parents=True, exist_ok=True)
    (tmp_path / "manual" / "fake" / "labels.txt").write_text(labels)
    return data_config(
        tmp_path / "data",
        options={"fake_cxr": {"from_manual_dir": True}},
        manual_dir=str(tmp_path / "manual"),
    )


def test_a_changed_manual_dir_is_prepared_anew(tmp_path, capsys):
    first = open_dataset(manual_config(tmp_path, "normal\ncovid19\n"))
    changed = open_dataset(manual_config(tmp_path, "covid19\nnormal\n"))
    assert first.labels.tolist() == [0, 1, 1]
    assert changed.labels.tolist() == [1, 0, 0]
    assert capsys.readouterr().out.count("preparing fake_cxr from") == 2


def test_a_data_set_behind_a_link_is_prepared_anew_when_it_or_the_link_changes(tmp_path):
    config = manual_config(tmp_path, "normal\ncovid19\n")
    link = tmp_path / "manual" / "fake"
    link.rename(tmp_path / "elsewhere")
    link.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(tmp_path / "manual")
    first = open_dataset(config)
    labels = tmp_path / "elsewhere" / "labels.txt"
    time = labels.stat().st_mtime_ns
    labels.write_text("covid19\nnormal\n")
    os.utime(labels, ns=(time + 1, time + 1))
    changed = open_dataset(config)
    assert (first.labels.tolist(), changed.labels.tolist()) == ([0, 1, 1], [1, 0, 0])
    # Another folder of equal names, sizes and times.
    shutil.copytree(tmp_path / "elsewhere", tmp_path / "other", symlinks=True)
    (tmp_path / "other" / "labels.txt").write_text("normal\ncovid19\n")
    os.utime(tmp_path / "other" / "labels.txt", ns=(time + 1, time + 1))
    link.unlink()
    link.symlink_to(tmp_path / "other")
    assert open_dataset(config).labels.tolist() == first.labels.tolist()


def test_the_fingerprint_follows_links_and_is_small_work(tmp_path):
    real = tmp_path / "real"
    (real / "images").mkdir(parents=True)
    (real / "images" / "1.png").write_bytes(b"1")
    manual = tmp_path / "manual"
    manual.mkdir()
    (manual / "a").symlink_to(real)
    (manual / "b").symlink_to(real)  # two links to one folder: it is entered once
    (manual / "nothing").symlink_to(tmp_path / "nothing")
    found = [prepared._manual_fingerprint(manual)]
    (real / "images" / "2.png").write_bytes(b"2")
    found.append(prepared._manual_fingerprint(manual))
    (manual / "b").unlink()
    found.append(prepared._manual_fingerprint(manual))
    assert len(set(found)) == 3
    assert prepared._manual_fingerprint(manual) == found[-1]


def test_a_table_that_is_edited_with_its_size_and_time_kept_is_prepared_anew(tmp_path):
    config = manual_config(tmp_path, "normal\ncovid19\n")
    labels = tmp_path / "manual" / "fake" / "labels.txt"
    first, time = open_dataset(config), labels.stat().st_mtime_ns
    labels.write_text("covid19\nnormal\n")
    os.utime(labels, ns=(time, time))
    assert open_dataset(config).labels.tolist() == [1, 0, 0] != first.labels.tolist()


def test_tables_are_read_for_the_fingerprint_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "_MAX_TABLE", 8)
    monkeypatch.setattr(prepared, "_MAX_TABLES", 12)

    def follows(name, size):
        path = tmp_path / name
        path.write_bytes(b"a" * size)
        before, status = prepared._manual_fingerprint(tmp_path), path.stat()
        path.write_bytes(b"b" * size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        changed = prepared._manual_fingerprint(tmp_path) != before
        path.unlink()
        return changed

    assert follows("t.csv", 8) and follows("T.CSV", 8) and follows("t.json", 8)
    assert not follows("t.csv", 9) and not follows("t.png", 8)
    (tmp_path / "first.csv").write_bytes(b"12345678")
    assert follows("a.txt", 4) and not follows("a.txt", 5)


def test_changed_code_of_a_builder_of_ones_own_is_prepared_anew(tmp_path):
    for name in ("fake_cxr_dataset_builder.py", "labels.py"):
        (tmp_path / name).write_text("a = 1\n")
    found = []
    for text in ("a = 1\n", "a = 2\n", "a = 1\n"):
        (tmp_path / "labels.py").write_text(text)
        found.append(prepared._code_fingerprint(tmp_path / "fake_cxr_dataset_builder.py"))
    assert found[0] == found[2] != found[1]
    assert prepared._code_fingerprint(Path(phantom.__file__)) == ""


def test_a_second_section_lies_where_the_first_does_unless_it_says_otherwise():
    first, second = (schema.config("classify").data for _ in range(2))
    first.manual_dir, first.data_dir = "/xrays", "/prepared"
    second.data_dir, second.limit = "/own", 7
    combined = with_default_dirs(second, first, field="evaluate.data")
    assert (combined.manual_dir, combined.data_dir, combined.limit) == ("/xrays", "/own", 7)
    assert second.manual_dir == ""


def test_a_missing_folder_is_named_by_the_field_that_names_it(tmp_path):
    first, second = (schema.config("classify").data for _ in range(2))
    second.manual_dir = str(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"^evaluate\.data\.manual_dir .*nowhere is not a folder"):
        with_default_dirs(second, first, field="evaluate.data")


def test_missing_source_files_show_the_builders_instructions(tmp_path):
    config = manual_config(tmp_path, "normal\n")
    (tmp_path / "manual" / "fake" / "labels.txt").rename(tmp_path / "manual" / "other.txt")
    with pytest.raises(InputError, match=r"put fake/labels.txt there"):
        open_dataset(config)
    with pytest.raises(InputError, match="is not a folder"):
        open_dataset(data_config(tmp_path, manual_dir=str(tmp_path / "nowhere")))


def test_a_mistyped_builder_names_those_there_are(tmp_path):
    with pytest.raises(InputError, match=r"tests\.data\.fake_cx'.*tests\.data\.fake_cxr"):
        open_dataset(data_config(tmp_path, builders=("tests.data.fake_cx",)))


def test_a_mistyped_option_names_the_builder(tmp_path):
    options = {"fake_cxr": {"patient": 3}}
    with pytest.raises(InputError, match=r"data\.options\.fake_cxr: .*patient"):
        open_dataset(data_config(tmp_path, options=options))


def test_a_mistyped_patient_key_names_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="strict_patient_id"):
        open_dataset(data_config(tmp_path, patient_key="patient"))


@pytest.mark.parametrize("damage", ["truncate", "overwrite"])
def test_damaged_prepared_data_are_named(tmp_path, damage):
    config = data_config(tmp_path)
    open_dataset(config)
    (shard,) = tmp_path.rglob("*.array_record*")
    content = shard.read_bytes()
    half = len(content) // 2
    tail = b"" if damage == "truncate" else bytes(200) + content[half + 200 :]
    shard.write_bytes(content[:half] + tail)
    with pytest.raises(InputError, match=r"is damaged .* remove that folder"):
        open_dataset(config)


def test_a_damaged_metadata_table_is_made_again(tmp_path, caplog):
    config = data_config(tmp_path)
    first = open_dataset(config)
    (table,) = tmp_path.rglob("jaxcxr_table*.npz")
    table.write_bytes(table.read_bytes()[:100])
    assert open_dataset(config).fingerprint == first.fingerprint
    assert "is rebuilt" in caplog.text


def test_what_a_process_left_that_was_killed_amid_its_table_is_removed(tmp_path):
    config = data_config(tmp_path)
    open_dataset(config)
    (table,) = tmp_path.rglob("jaxcxr_table*.npz")
    table.rename(leftover := table.with_name(f".{table.name}.{1 << 30}.tmp"))
    open_dataset(config)
    assert table.exists() and not leftover.exists()


def test_labels_are_counted_before_they_become_classes(folder):
    section = data_config(folder, classes=("sick",), relabel=("normal=", "covid19=sick"))
    assert label_counts(section) == {"normal": 4, "covid19": 6, "": 2}
    assert label_map(section) == {"normal": "", "covid19": "sick"}


def write_ccx(folder, rows, *, pictures=None, encoding="utf-8"):
    """A ccx folder of rows (patient, finding, view, filename) and pictures (those named there):
    name -> seed.
    """
    (folder / "ccx" / "images").mkdir(parents=True)
    lines = ["patientid,finding,view,filename", *(",".join(map(str, row)) for row in rows)]
    (folder / "ccx" / "metadata.csv").write_bytes("\n".join(lines).encode(encoding))
    for name, seed in (pictures or {row[3]: n for n, row in enumerate(rows)}).items():
        (folder / "ccx" / "images" / name).write_bytes(png(image_of(seed, 0)))
    return data_config(
        folder / "data",
        builders=("tfds_builders.ccx",),
        options={"ccx": {}},
        manual_dir=str(folder),
    )


CCX_ROWS = [(n, ("No Finding", "COVID-19")[n % 2], "PA", f"im{n}.png") for n in range(10)]


def test_where_all_are_at_fault_the_findings_of_the_set_are_named_and_no_way_around(tmp_path):
    config = write_ccx(tmp_path, [(p, "covid", v, name) for p, _, v, name in CCX_ROWS])
    with pytest.raises(InputError, match="none of the 10 images of ccx can be used") as caught:
        open_dataset(config)
    assert "COVID-19, " in str(caught.value) and "No Finding" in str(caught.value)
    assert "max_dropped" not in str(caught.value)


def test_too_many_images_at_fault_are_refused_with_reasons_and_names(tmp_path):
    rows = [(p, finding, view, name) for p, finding, view, name in CCX_ROWS]
    rows[8] = (8, "No Finding", "sideways", "im8.png")
    rows += [(9, "COVID-19", "L", "im9.png")] * 5  # on purpose: does not count
    config = write_ccx(tmp_path, rows, pictures={f"im{n}.png": n for n in range(2, 10)})
    with pytest.raises(InputError) as caught:
        open_dataset(config)
    assert "3 of 10 images of ccx cannot be used, and data.max_dropped allows 20 %" in str(
        caught.value
    )
    assert "ccx: missing file: 2 (im0.png, im1.png)" in str(caught.value)
    assert "ccx: view sideways: 1 (im8.png)" in str(caught.value)
    assert "--config.data.max_dropped=0.3" in str(caught.value)
    config.max_dropped = 0.3
    dataset = open_dataset(config)
    assert len(dataset) == 7
    assert dataset.dropped["ccx: view L"] == Dropped(5, ("im9.png",) * 3)
    assert dataset.dropped["ccx: missing file"] == Dropped(2, ("im0.png", "im1.png"), True)


def test_max_dropped_is_a_fraction(folder):
    with pytest.raises(InputError, match=r"data\.max_dropped is 20: give a fraction"):
        open_dataset(data_config(folder, max_dropped=20))


def test_files_are_found_under_other_spellings_and_it_is_said(tmp_path):
    rows = [
        (p, finding, view, f"images\\{name[:-4].upper()}") for p, finding, view, name in CCX_ROWS
    ]
    config = write_ccx(tmp_path, rows, pictures={f"im{n}.png": n for n in range(10)})
    dataset = open_dataset(config)
    assert len(dataset) == 10
    assert dataset.notices[0].startswith("ccx: 10 file names are spelt differently in the table")


def test_findings_are_read_in_any_capitals_and_those_without_a_class_are_listed(tmp_path):
    rows = [(p, finding.lower(), "ap semi erect", name) for p, finding, _, name in CCX_ROWS]
    rows[9] = (9, "covid", "PA", "im9.png")
    rows[8] = (8, "lipoid", "PA", "im8.png")
    dataset = open_dataset(write_ccx(tmp_path, rows))
    assert np.bincount(dataset.labels).tolist() == [4, 4]
    assert dataset.dropped == {
        "ccx: unknown finding: covid": Dropped(1, ("ccx-im9",), True),
        "ccx: no class of the study: lipoid": Dropped(1, ("ccx-im8",)),
    }


def test_no_image_with_a_class_names_the_findings(tmp_path):
    rows = [(p, "covid", "PA", name) for p, _, _, name in CCX_ROWS]
    config = write_ccx(tmp_path, rows)
    config.max_dropped = 1
    with pytest.raises(
        InputError, match=r"no image with a class.*unknown finding: covid: 10 \(ccx-im0"
    ):
        open_dataset(config)


def test_the_same_file_makes_two_patients_one(tmp_path):
    pictures = {f"im{n}.png": n for n in range(10)} | {"im4.png": 2, "im6.png": 4}
    pictures["im4.png"], pictures["im6.png"], pictures["im8.png"] = 2, 2, 0
    dataset = open_dataset(write_ccx(tmp_path, CCX_ROWS, pictures=pictures))
    patients = dict(zip(dataset.ids.tolist(), dataset.patient_ids.tolist(), strict=True))
    assert patients["ccx-im2"] == patients["ccx-im4"] == patients["ccx-im6"] == "ccx-2"
    assert patients["ccx-im0"] == patients["ccx-im8"] == "ccx-0" != patients["ccx-im1"]
    assert dataset.notices == (
        "3 patients share an image, byte for byte, with another one and are joined: "
        "ccx-4 is ccx-2, ccx-6 is ccx-2, ccx-8 is ccx-0",
    )


def test_the_same_file_under_two_labels_is_refused(tmp_path):
    pictures = {f"im{n}.png": n for n in range(10)} | {"im4.png": 3}
    with pytest.raises(
        InputError, match=r"ccx-im3 \(covid19\) and ccx-im4 \(normal\)\. Correct the label"
    ):
        open_dataset(write_ccx(tmp_path, CCX_ROWS, pictures=pictures))


def test_what_is_not_used_is_printed_once(capsys):
    found = {"a: b": Dropped(1, ("x",)), "a: c": Dropped(5, ("u", "v", "w"), True)}
    for _ in range(2):
        dropped.print_once(found, ["guessed"])
    assert capsys.readouterr().out.splitlines() == [
        "note: guessed",
        "not used: a: c: 5 (u, v, w, ...)",
        "not used: a: b: 1 (x)",
    ]


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json", "metadata.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b"\xff\x00", None])
def test_damaged_files_of_prepared_data_are_one_error_or_without_effect(tmp_path, name, content):
    config = data_config(tmp_path)
    fingerprint = open_dataset(config).fingerprint
    (path,) = tmp_path.rglob(name)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    try:
        assert open_dataset(config).fingerprint == fingerprint
    except InputError as error:
        assert "remove that folder, it is then prepared again" in str(error)


def test_an_image_that_changed_since_it_was_prepared_is_refused(tmp_path):
    config = data_config(tmp_path)
    dataset = open_dataset(config)
    dataset.examples._parts[0]._hashes["image"][dataset.rows[2]] = "0" * 64
    with pytest.raises(InputError, match=r"image of fake-p1_1 has changed .*remove that folder"):
        dataset.image(2)


def test_counts_that_changed_since_they_were_prepared_are_noticed(tmp_path):
    config = data_config(tmp_path)
    open_dataset(config)
    (path,) = tmp_path.rglob("metadata.json")
    path.write_text(path.read_text().replace("3", "4"))
    with pytest.raises(InputError, match=r"metadata\.json has changed since it was prepared"):
        open_dataset(config)


def test_a_read_only_folder_is_used_without_a_lock_or_a_cache(tmp_path, monkeypatch, caplog):
    config = data_config(tmp_path)
    first = open_dataset(config)
    (table,) = tmp_path.rglob("jaxcxr_table*.npz")
    table.unlink()
    for lock in tmp_path.glob(".*.lock"):
        lock.unlink()

    def refuse(*_args, **_kwargs):
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(prepared.files, "write_bytes", refuse)
    monkeypatch.setattr(locking.fcntl, "flock", refuse)
    assert open_dataset(config).fingerprint == first.fingerprint
    assert "cannot be cached" in caplog.text
    config.options.fake_cxr.prefix = "other"
    with pytest.raises(InputError, match="is read-only and does not contain it"):
        open_dataset(config)


def test_a_full_disk_while_preparing_is_one_error(tmp_path, monkeypatch):
    def fail(*_args, **_kwargs):
        raise RuntimeError("writing shard failed: No space left on device")

    monkeypatch.setattr(Builder, "_generate_examples", fail)
    with pytest.raises(InputError, match="fake_cxr cannot be prepared: the disk of .* is full"):
        open_dataset(data_config(tmp_path))


def test_what_a_killed_preparation_left_is_cleared_away(tmp_path):
    code = prepared._code_fingerprint(Path(inspect.getfile(Builder)))[:16]
    leftover = tmp_path / f"code-{code}/fake_cxr/n8_drawn_fake/incomplete.ABCDEF_1.0.0"
    leftover.mkdir(parents=True)
    (leftover / "part").write_bytes(b"x")
    assert len(open_dataset(data_config(tmp_path))) == 10
    assert not leftover.exists()
