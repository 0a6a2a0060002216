"""A table's features are standardised and encoded by train alone; what is wrong with a file is told in a line."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recipes.data.splitting import split
from recipes.data.table import Table

# y is told by x; the last column is a trap for whoever takes ids for features.
ROWS = [(f"{index % 3}", f"{index * 0.5}", ["red", "green", "blue"][index % 3], f"{index}") for index in range(60)]


def written(folder, rows=ROWS, head="y,x,colour,id", delimiter=","):
    path = folder / "table.csv"
    lines = [head.replace(",", delimiter), *(delimiter.join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def changed(place, column, value):
    rows = [list(row) for row in ROWS]
    rows[place][column] = value
    return rows


def test_numbers_are_standardised_and_words_one_hot_by_train_alone(tmp_path):
    table = Table(written(tmp_path), "y", ignored=["id"])
    assert (table.shape, table.num_classes) == ((4,), 3)
    table.setup("fit")
    assert [len(part) for part in (table.train, table.val, table.test)] == [43, 8, 9]
    x = table.train.inputs[:, 0]
    assert float(x.mean()) == pytest.approx(0, abs=1e-6)
    assert float(x.std(correction=0)) == pytest.approx(1, abs=1e-6)
    assert abs(float(table.test.inputs[:, 0].mean())) > 1e-3
    # Sorted: blue is 2, green 1, red 0.
    for part in (table.train, table.val, table.test):
        assert torch.equal(part.inputs[:, 1:].argmax(1), 2 - part.labels)
        assert torch.equal(part.inputs[:, 1:].sum(1), torch.ones(len(part)))
    # Every row is there, once.
    rows = torch.cat([part.inputs[:, 0] for part in (table.train, table.val, table.test)]).sort().values
    assert torch.allclose(rows.diff(), rows.diff()[0].expand(59), atol=1e-5)


def test_the_split_is_stratified_and_depends_on_its_seed_alone(tmp_path):
    path = written(tmp_path)

    def test_rows(**options):
        table = Table(path, "y", **options)
        table.setup("fit")
        assert table.test.labels.bincount().tolist() == [3, 3, 3]
        return table.test.inputs.tolist()

    first = test_rows()
    torch.manual_seed(1)
    np.random.seed(2)
    assert test_rows(shuffle_seed=5, batch_size=3) == first
    assert test_rows(split_seed=1) != first


def test_numbers_may_be_categories_and_classes_are_sorted_as_numbers(tmp_path):
    rows = [(f"{index % 2 + 9}", f"{index // 2 % 5}") for index in range(40)]
    table = Table(written(tmp_path, rows, "y,x"), "y", categorical=["x"])
    assert table.shape == (5,)
    assert table.classes.tolist() == [9.0, 10.0]


def parts(rows=ROWS):
    """The rows of train and of the test."""
    labels = np.array([row[0] for row in rows])
    rest, test = split(labels, 0.15, 2017, "test_size")
    return rest[split(labels[rest], 0.15, 2017, "val_size")[0]], test


def test_a_category_that_train_lacks_is_all_zeros(tmp_path):
    _, test = parts()
    table = Table(written(tmp_path, changed(test[4], 2, "pink")), "y", ignored=["id", "x"])
    table.setup("fit")
    assert table.shape == (3,)
    assert table.test.inputs.sum(1).tolist() == [1, 1, 1, 1, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("empty", ["", "NA", "nan", "?", "null"])
def test_missing_cells_are_refused_or_filled(tmp_path, empty):
    path = written(tmp_path, changed(4, 1, empty))
    said = r"^missing='error': row 6 of .*table.csv has nothing in column 'x'; fill it in, ignore the column, or pass"
    with pytest.raises(ValueError, match=said):
        Table(path, "y")
    Table(path, "y", ignored=["x"])
    table = Table(path, "y", missing="fill", ignored=["id"])
    table.setup("fit")
    assert table.shape == (4,)
    assert all(bool(part.inputs.isfinite().all()) for part in (table.train, table.val, table.test))


def test_what_is_filled_in_is_trains_median_and_commonest(tmp_path):
    train, test = parts()
    rows = changed(test[0], 1, "")
    rows[test[0]][2] = ""
    # Far from all of train: a median or a mean of all rows would show it.
    for row in test[1:]:
        rows[row][1], rows[row][2] = "1000", "blue"
    # The commonest of train is what no row outside has.
    for row in train[:30]:
        rows[row][2] = "green"
    table = Table(written(tmp_path, rows), "y", missing="fill", ignored=["id"])
    table.setup("fit")
    of_train = np.array([float(rows[row][1]) for row in train])
    filled = (np.median(of_train) - of_train.mean()) / of_train.std()
    assert table.test.inputs[0].tolist() == pytest.approx([filled, 0, 1, 0], abs=1e-6)


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        (ROWS, {"target": "z"}, "^target='z': .*table.csv has no such column; choose from y, x, colour, id$"),
        (ROWS, {"categorical": ["z"]}, "^categorical='z': .* has no such column"),
        (ROWS, {"ignored": ["z"]}, "^ignored='z': .* has no such column"),
        (ROWS, {"ignored": ["x", "colour", "id"]}, "^ignored=.*: no column is left to learn from; ignore less$"),
        (ROWS, {"ignored": ["y"]}, "^target='y': is the class, not a feature"),
        (ROWS, {"missing": "drop"}, "^missing='drop': there is no such way; choose from error, fill$"),
        (ROWS, {"val_size": 60}, "^val_size=60: nothing is left to train on"),
        (ROWS, {"delimiter": ";"}, "^target='y': .* has no such column; choose from y,x,colour,id$"),
        (
            ROWS,
            {"delimiter": "||"},
            r"^delimiter='\|\|': cannot be between cells; pass one character, or \\t for a tab$",
        ),
        (changed(3, 1, "1e999"), {}, "^path=.*: row 5 has '1e999' in column 'x'; mend it or ignore the column$"),
        (changed(3, 1, "-1e200"), {}, "^path=.*: row 5 has '-1e200' in column 'x'; mend it or ignore the column$"),
        (
            changed(3, 2, "x" * 200_000),
            {},
            r"^path=.*: cannot be read as CSV in UTF-8 \(field larger than .*; save it as",
        ),
        (changed(3, 0, ""), {}, "^target='y': row 5 of .* has no class; fill it in or delete the row$"),
        (changed(3, 0, "once"), {}, "^test_size=0.15: class once has one sample, which cannot be on both sides"),
        (changed(3, 1, "-inf"), {}, "^path=.*: row 5 has '-inf' in column 'x'; mend it or ignore the column$"),
        ([*ROWS, ("1", "2")], {}, "^path=.*: row 62 has 2 cells and the first 4; mend it, or pass the delimiter$"),
        ([], {}, "^path=.*: has no rows below its first line"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(tmp_path, rows, options, said):
    with pytest.raises(ValueError, match=said) as refused:
        Table(**{"path": written(tmp_path, rows), "target": "y", **options})
    assert "\n" not in str(refused.value)


def test_two_columns_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^path=.*: has two columns 'x'; give each a name of its own$"):
        Table(written(tmp_path, [("0", "1", "2")] * 9, "y,x,x"), "y")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^path='nowhere.csv': there is no such file; put a CSV file there"):
        Table("nowhere.csv", "y")


def test_rows_have_no_channels(tmp_path):
    with pytest.raises(
        AttributeError, match=r"^data=table: rows of a table have no channels; choose a model for vectors"
    ):
        _ = Table(written(tmp_path), "y").channels


def test_what_is_no_utf8_is_told_with_the_name_of_the_file(tmp_path):
    path = written(tmp_path, changed(3, 2, "grün"))
    (tmp_path / "table.csv").write_text((tmp_path / "table.csv").read_text(encoding="utf-8"), encoding="latin-1")
    with pytest.raises(ValueError, match=r"^path='.*table.csv': cannot be read as CSV in UTF-8 \('utf-8' codec"):
        Table(path, "y")


def test_a_tab_can_be_said_on_a_command_line(tmp_path):
    assert Table(written(tmp_path, delimiter="\t"), "y", delimiter="\\t").shape == (5,)


def test_a_class_may_be_called_infinite(tmp_path):
    rows = [("inf" if label == "0" else label, *rest) for label, *rest in ROWS]
    assert Table(written(tmp_path, rows), "y").classes.tolist() == ["1", "2", "inf"]
