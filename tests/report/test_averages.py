"""`python -m docs.results.averages`: what the pages of results compare."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from docs.results import averages
from tests.report.fakes import predictions


@pytest.fixture
def folders(tmp_path):
    """Two learners of three folds, the second the better one."""
    for name, skill in (("vgg", 1.0), ("resnet50", 2.5)):
        for fold in range(3):
            (tmp_path / name / f"fold{fold}").mkdir(parents=True)
            made = predictions(learner=name, fold=fold, skill=skill)
            made.save(tmp_path / name / f"fold{fold}" / "predictions.npz")
    return tmp_path / "vgg", tmp_path / "resnet50"


def test_a_mean_is_of_the_probabilities_fold_by_fold(folders):
    first, second = folders
    alone = [averages.parts(str(folder), "test") for folder in folders]
    both = averages.parts(f"{first}+{second}", "test")
    for fold in range(3):
        mean = (alone[0][fold].probabilities + alone[1][fold].probabilities) / 2
        np.testing.assert_allclose(both[fold].probabilities, mean, rtol=1e-6)


def test_another_folds_network_sees_the_test_images_and_not_the_out_of_fold_ones(folders):
    own = averages.parts(str(folders[0]), "test")
    shifted = averages.parts(f"{folders[0]}@1", "test")
    for fold in range(3):
        np.testing.assert_array_equal(
            shifted[fold].probabilities, own[(fold + 1) % 3].probabilities
        )
    assert averages.parts(f"{folders[0]}@1", "oof") is None


def test_images_can_be_left_out(folders):
    [part, *_] = averages.parts(str(folders[0]), "test", ["test-40", "nobody"])
    assert len(part.labels) == 39 and part.probabilities.shape == (39, 4)


def test_it_prints_scores_and_differences(folders, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["averages", *map(str, folders[::-1])])
    averages.main()
    _, _, better, worse, difference, *_ = capsys.readouterr().out.splitlines()
    for line, folder in ((better, folders[1]), (worse, folders[0])):
        found = averages.parts(str(folder), "test")
        expected = np.mean(
            [f1_score(p.labels, p.probabilities.argmax(1), average="macro") for p in found]
        )
        assert f"{expected:.4f}" in line
    assert difference.strip().startswith("+") and "p = " in difference
    assert float(better.split()[0]) > float(worse.split()[0])


def test_a_folder_without_predictions_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"has no fold\*/predictions.npz"):
        averages.parts(str(tmp_path), "test")
