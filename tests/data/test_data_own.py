"""Files of one's own."""

import numpy as np
import pytest
import torch

from pyro_vae import data


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def rows(dataset):
    return torch.cat([part.x for part in (dataset.train, dataset.valid, dataset.test)])


def test_keras_layout_keeps_its_test_set_and_cuts_a_tenth_for_validation(tmp_path, rng):
    x, x_test = rng.integers(0, 256, (40, 28, 28), dtype=np.uint8), rng.integers(0, 256, (10, 28, 28), dtype=np.uint8)
    y, y_test = np.arange(40) % 4, np.arange(10) % 4
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y.astype(np.uint8), x_test=x_test, y_test=y_test)
    mine = data.load(tmp_path / "mine.npz")
    assert (mine.name, mine.kind, mine.shape, mine.num_classes) == ("mine", "grey", (1, 28, 28), 4)
    assert (len(mine.train), len(mine.valid), len(mine.test)) == (36, 4, 10)
    torch.testing.assert_close(mine.test.x[:, 0], torch.from_numpy(x_test) / 255)
    assert mine.test.y.tolist() == y_test.tolist()
    # each label stays with its image
    whole = {image.tobytes(): label for image, label in zip(x, y, strict=True)}
    for image, label in zip(mine.train.x, mine.train.y, strict=True):
        assert whole[(image[0] * 255).round().to(torch.uint8).numpy().tobytes()] == label


def test_arrays_x_and_y_are_cut_into_a_partition_that_the_seed_decides(tmp_path, rng):
    x = rng.normal(3.0, 2.0, (100, 5))
    np.savez(tmp_path / "mine.npz", x=x, y=rng.normal(size=100))
    mine, again = (data.load(str(tmp_path / "mine.npz"), seed=1) for _ in range(2))
    other = data.load(tmp_path / "mine.npz", seed=2)
    assert (mine.kind, mine.num_classes, mine.train.y.shape) == ("real", None, (70, 1))
    assert torch.equal(mine.train.x, again.train.x)
    assert not torch.equal(mine.train.x, other.train.x)
    # standardised, by one affine map: sorted columns agree with the file's
    torch.testing.assert_close(mine.train.x.mean(0), torch.zeros(5), atol=1e-6, rtol=0)
    ours, theirs = rows(mine).double().sort(0).values, torch.from_numpy(np.sort(x, 0))
    torch.testing.assert_close(
        (ours - ours[0]) / (ours[-1] - ours[0]), (theirs - theirs[0]) / (theirs[-1] - theirs[0]), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.array([[0.0, 1.0]] * 20), "binary"),
        (np.array([[0, 1]] * 20, dtype=np.uint8), "binary"),
        (np.array([[False, True]] * 20), "binary"),
        (np.array([[0.0, 0.25]] * 20), "grey"),
        (np.array([[0, 200]] * 20, dtype=np.uint8), "grey"),
        (np.array([[0, 200]] * 20), "counts"),
        (np.array([[-1.0, 200.0]] * 20), "real"),
    ],
)
def test_the_kind_is_seen_from_the_values(tmp_path, values, kind):
    np.save(tmp_path / "x.npy", values)
    assert data.load(tmp_path / "x.npy").kind == kind


def test_channels_come_first(tmp_path, rng):
    x = rng.random((20, 6, 7, 3))
    np.save(tmp_path / "x.npy", x)
    assert data.load(tmp_path / "x.npy").shape == (3, 6, 7)
    np.save(tmp_path / "x.npy", np.moveaxis(x, -1, 1))
    assert data.load(tmp_path / "x.npy").shape == (3, 6, 7)


def test_a_table_with_named_classes_and_gaps(tmp_path):
    lines = ["a,y,b"] + [f"{i},{['cat', 'dog', ''][i % 3]},{0.5 * i}" for i in range(60)]
    (tmp_path / "pets.csv").write_text("\n".join(lines))
    pets = data.load(tmp_path / "pets.csv")
    assert (pets.feature_names, pets.class_names, pets.num_classes) == (("a", "b"), ("cat", "dog"), 2)
    for part in (pets.train, pets.valid, pets.test):
        number = (part.x[:, 0] - rows(pets)[:, 0].min()) / (rows(pets)[:, 0].max() - rows(pets)[:, 0].min()) * 59
        expected = [[0, 1, -1][round(i) % 3] for i in number.tolist()]
        assert part.y.tolist() == expected


def test_the_label_may_have_any_name(tmp_path):
    lines = ["a,species"] + [f"{i},{['adelie', 'gentoo'][i % 2]}" for i in range(60)]
    (tmp_path / "penguins.csv").write_text("\n".join(lines))
    penguins = data.load(tmp_path / "penguins.csv", label="species")
    assert (penguins.feature_names, penguins.class_names) == (("a",), ("adelie", "gentoo"))
    with pytest.raises(ValueError, match="no column 'kind'; its columns are 'a', 'species'"):
        data.load(tmp_path / "penguins.csv", label="kind")
    with pytest.raises(ValueError, match="'digits' is a known set"):
        data.load("digits", label="species")
    np.save(tmp_path / "x.npy", np.zeros((20, 2)))
    with pytest.raises(ValueError, match="names a column of a table"):
        data.load(tmp_path / "x.npy", label="species")


def test_a_column_of_whole_numbers_with_gaps_holds_classes(tmp_path):
    (tmp_path / "t.csv").write_text("\n".join(["a,y"] + [f"{i}.5,{i % 2 if i % 5 else ''}" for i in range(60)]))
    table = data.load(tmp_path / "t.csv")
    assert (table.num_classes, int((table.train.y == -1).sum()) > 0) == (2, True)


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({"images": np.zeros((3, 2))}, data.DataCorrupted, "holds 'images'; wanted are arrays x"),
        ({}, data.DataCorrupted, "holds nothing"),
        ({"x": np.array(["a", "b"])}, TypeError, "bad.npz.*must hold numbers"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(2, int)}, ValueError, "bad.npz.*same length"),
        ({"x": np.full((3, 2), np.nan)}, ValueError, "bad.npz.*finite"),
        ({"x_train": np.zeros((3, 2)), "x_test": np.zeros((3, 4))}, ValueError, "same event shape"),
    ],
)
def test_wrong_files_are_refused(tmp_path, arrays, error, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(error, match=message):
        data.load(tmp_path / "bad.npz")


def test_missing_and_damaged_files_and_words_in_tables(tmp_path):
    with pytest.raises(data.DataNotFound, match="there is no file"):
        data.load(tmp_path / "none.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(data.DataCorrupted, match=r"broken.npz.*cannot be read"):
        data.load(tmp_path / "broken.npz")
    (tmp_path / "words.csv").write_text("a,b\n1,x\n2,z\n")
    with pytest.raises(ValueError, match=r"no numbers in 'b': encode or drop.*label='b' \(--label-column b\)"):
        data.load(tmp_path / "words.csv")
    (tmp_path / "gaps.csv").write_text("a,b\n1,2\n,3\n4,\n")
    with pytest.raises(ValueError, match=r"column 'a' has no number in row 1 below the names, one of 2 gaps"):
        data.load(tmp_path / "gaps.csv")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    with pytest.raises(data.DataCorrupted, match="cannot be read"):
        data.load(tmp_path / "objects.npy")


def test_fraction_for_validation(tmp_path):
    np.save(tmp_path / "x.npy", np.linspace(0, 1, 200).reshape(100, 2))
    assert len(data.load(tmp_path / "x.npy", valid=0.2).valid) == 17  # of the 85 that are not for the test


def test_large_numbers_keep_what_tells_them_apart(tmp_path):
    """Seconds since 1970 differ by less than single precision can hold."""
    times = 1.7e9 + np.arange(200.0)
    rows = "\n".join(f"{time:.0f},{i % 7}.5" for i, time in enumerate(times))
    (tmp_path / "t.csv").write_text(f"time,other\n{rows}\n")
    loaded = data.load(tmp_path / "t.csv")
    values = torch.cat([split.x for split in (loaded.train, loaded.valid, loaded.test)])[:, 0]
    assert len(values.unique()) == 200
    assert loaded.train.x.mean(0).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert loaded.train.x.std(0, correction=0).tolist() == pytest.approx([1, 1], abs=1e-5)


def test_labels_that_are_words_are_classes_in_arrays_too(tmp_path):
    x = np.random.default_rng(0).normal(size=(30, 2))
    y = np.array(["oak", "ash", "elm"] * 10)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:2], y_test=np.array(["elm", "ash"]))
    loaded = data.load(tmp_path / "a.npz", valid=0)
    assert loaded.class_names == ("ash", "elm", "oak")
    assert loaded.num_classes == 3
    assert loaded.test.y.tolist() == [1, 0]
    assert sorted(loaded.train.y.bincount().tolist()) == [10, 10, 10]


@pytest.mark.parametrize(
    ("column", "labels"),
    [(["", "", "", ""], None), (["-5.0", "2.0", "", "3.0"], torch.float32), (["0", "2", "", "1"], torch.int64)],
)
def test_columns_of_labels_with_gaps(tmp_path, column, labels):
    rows = "\n".join(f"{i}.5,{column[i % 4]}" for i in range(40))
    (tmp_path / "t.csv").write_text(f"a,y\n{rows}\n")
    loaded = data.load(tmp_path / "t.csv")
    assert (None if loaded.train.y is None else loaded.train.y.dtype) == labels
    assert loaded.num_classes == (3 if labels == torch.int64 else None)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 3))}, "two.npz': 2 data cannot be cut"),
        (
            {"x_train": np.zeros((9, 3), dtype=np.uint8), "x_test": np.zeros((9, 3))},
            "x_train holds uint8 and x_test float64; give both alike",
        ),
    ],
)
def test_what_cannot_be_cut_or_told_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "two.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        data.load(tmp_path / "two.npz")
