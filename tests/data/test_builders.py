import sys

import numpy as np
import pytest

from configs import common_data
from jaxcxr.data import (
    builders,
    label_counts,
    learned_classes,
    open_dataset,
    relabelling,
    targets,
    where_given,
)
from jaxcxr.types import InputError
from tests.data.fake_cxr.fake_cxr_dataset_builder import image_of
from tests.data.fakes import data_config


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
        assert dataset.dropped == {"fake_cxr: lateral": 3, "no class of the study: Lipoid": 2}


def test_without_classes_everything_is_kept_with_label_0(folder):
    dataset = open_dataset(data_config(folder, classes=()))
    assert len(dataset) == 12
    assert dataset.labels.tolist() == [0] * 12


def test_tensorflow_is_not_needed(folder):
    open_dataset(data_config(folder))
    assert "tensorflow" not in sys.modules


def test_opening_again_reads_the_cached_table_only(folder, monkeypatch, capsys):
    first = open_dataset(data_config(folder))
    monkeypatch.setattr(builders, "_read_table", None)
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


def test_several_builders_are_joined_and_may_not_share_ids(folder):
    twice = ("tests.data.fake_cxr", "tests.data.fake_cxr")
    with pytest.raises(InputError, match="12 ids occur more than once"):
        open_dataset(data_config(folder, builders=twice))


def test_labels_become_classes_and_some_are_left_out(folder):
    plain = open_dataset(data_config(folder))
    merged = open_dataset(data_config(folder, classes=("all",), relabel=("normal=all", "covid19=all")))
    assert merged.ids.tolist() == plain.ids.tolist() and not merged.labels.any()
    some = open_dataset(data_config(folder, classes=("sick",), relabel=("normal=", "covid19=sick")))
    assert some.ids.tolist() == plain.ids[plain.labels == 1].tolist()
    assert sum(some.dropped.values()) - sum(plain.dropped.values()) == (plain.labels == 0).sum()


def test_what_a_run_learns_follows_its_targets():
    section = data_config(".", classes=("a", "b", "c"))
    assert learned_classes(section) == ("a", "b", "c")
    section.targets = ("a=", "b=y", "c=x")
    assert learned_classes(section) == ("y", "x") and targets(section) == {"a": "", "b": "y", "c": "x"}
    section.targets = ("a=x", "b=x")
    with pytest.raises(InputError, match=r"data\.targets must map each of data\.classes"):
        learned_classes(section)


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
    joined = builders._concatenate(
        tables, examples, left.classes, relabel={}, patient_key="patient_id"
    )
    assert len(joined) == 20
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


def test_a_second_section_lies_where_the_first_does_unless_it_says_otherwise():
    first, second = common_data.data_section(), common_data.data_section()
    first.manual_dir, first.data_dir, second.data_dir, second.limit = "/xrays", "/prepared", "/own", 7
    found = where_given(second, first)
    assert (found.manual_dir, found.data_dir, found.limit) == ("/xrays", "/own", 7)
    assert second.manual_dir == ""


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
    assert "is made again" in caplog.text


def test_labels_are_counted_before_they_become_classes(folder):
    section = data_config(folder, classes=("sick",), relabel=("normal=", "covid19=sick"))
    assert label_counts(section) == {"normal": 4, "covid19": 6, "": 2}
    assert relabelling(section) == {"normal": "", "covid19": "sick"}
