"""A CSV file: each row a sample, one column the class."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from .in_memory import InMemory
from .parts import InMemoryData, Loaded
from .splitting import check_size, split

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
_WAYS = ("error", "fill")
_LARGEST = 1e150


class Table(InMemoryData):
    """The rows of a CSV file as samples of floats: numbers standardised, words one-hot.

    Means, standard deviations, categories and what is filled in are those of train alone. A category that train does
    not have is all zeros. The file is read when this is constructed.

    Args:
        path: The file, whose first line has the columns' names.
        target: The column of the class: words or numbers, each value a class.
        categorical: Feature columns that are categories, beside those that hold anything but numbers.
        ignored: Columns that are no features, such as an id.
        missing: What to do about empty cells (also "NA", "nan", "null", "none", "?"): "error" refuses them, "fill" puts
            in the median, or the commonest category, of train.
        delimiter: Between the cells of a row: one character, or a backslash with a t for a tab.
        batch_size: Rows a batch, in each process.
        val_size: Rows for validation: an int, or a share.
        test_size: Rows for the test: an int, or a share.
        split_seed: Of the split, which is stratified.
        shuffle_seed: Of the order of training.
        drop_last: Leave out the rows at an epoch's end that make no whole batch.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a column or a cell is missing, or the rows cannot be split.
    """

    def __init__(
        self,
        path: str,
        target: str,
        categorical: Sequence[str] | None = None,
        ignored: Sequence[str] | None = None,
        missing: str = "error",
        delimiter: str = ",",
        batch_size: int = 64,
        val_size: int | float = 0.15,
        test_size: int | float = 0.15,
        split_seed: int = 2017,
        shuffle_seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        super().__init__(batch_size, shuffle_seed, drop_last)
        check_size("val_size", val_size)
        check_size("test_size", test_size)
        if missing not in _WAYS:
            raise ValueError(f"missing={missing!r}: there is no such way; choose from {', '.join(_WAYS)}")
        categorical, ignored = list(categorical or ()), list(ignored or ())
        columns = read(path, delimiter)
        for name, wanted in {"target": [target], "categorical": categorical, "ignored": ignored}.items():
            for column in wanted:
                if column not in columns:
                    raise ValueError(f"{name}={column!r}: {path} has no such column; choose from {', '.join(columns)}")
        if target in {*categorical, *ignored}:
            raise ValueError(f"target={target!r}: is the class, not a feature; leave it out of categorical and ignored")
        classes = columns.pop(target)
        if (row := _first_missing(classes)) is not None:
            raise ValueError(f"target={target!r}: row {row + 2} of {path} has no class; fill it in or delete the row")
        features = {name: cells for name, cells in columns.items() if name not in ignored}
        if not features:
            raise ValueError(f"ignored={ignored!r}: no column is left to learn from; ignore less")
        for name, cells in features.items():
            row = _first_missing(cells)
            if missing == "error" and row is not None:
                raise ValueError(
                    f"missing='error': row {row + 2} of {path} has nothing in column {name!r}; "
                    "fill it in, ignore the column, or pass missing=fill"
                )
            if (row := _first_beyond(cells)) is not None:
                raise ValueError(
                    f"path={path!r}: row {row + 2} has {cells[row]!r} in column {name!r}; mend it or ignore the column"
                )
        self.classes, labels = np.unique(_numbers_if(classes), return_inverse=True)
        self.num_classes = len(self.classes)
        # By their names, for the errors.
        named = self.classes[labels]
        rest, test = split(named, test_size, split_seed, "test_size")
        train, val = split(named[rest], val_size, split_seed, "val_size")
        train, val = rest[train], rest[val]
        table = np.hstack([_encoded(cells, name in categorical, train) for name, cells in features.items()])
        self.shape = (table.shape[1],)
        rows, targets = torch.from_numpy(table.astype("float32")), torch.from_numpy(labels).long()
        self._parts = (
            InMemory(rows[train], targets[train]),
            InMemory(rows[val], targets[val]),
            InMemory(rows[test], targets[test]),
        )

    @property
    def channels(self) -> int:
        """Rows have none.

        Raises:
            AttributeError: Always.
        """
        raise AttributeError("data=table: rows of a table have no channels; choose a model for vectors, such as mlp")

    def load(self) -> Loaded:
        """The parts of the file that was read."""
        return self._parts


def read(path: str, delimiter: str) -> dict[str, list[str]]:
    """Read the columns of a CSV file, by name.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has no rows, a name twice, or a row of another length.
    """
    if not Path(path).expanduser().is_file():
        raise FileNotFoundError(
            f"path={path!r}: there is no such file; put a CSV file there, whose first line has the columns' names"
        )
    delimiter = "\t" if delimiter == "\\t" else delimiter
    if len(delimiter) != 1 or delimiter in '\r\n"':
        raise ValueError(f"delimiter={delimiter!r}: cannot be between cells; pass one character, or \\t for a tab")
    try:
        with Path(path).expanduser().open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file, delimiter=delimiter) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"path={path!r}: cannot be read as CSV in UTF-8 ({error}); save it as that") from error
    if len(rows) < 2:
        raise ValueError(f"path={path!r}: has no rows below its first line; pass a table with some")
    names = [name.strip() for name in rows[0]]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"path={path!r}: has two columns {twice!r}; give each a name of its own")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(names):
            raise ValueError(
                f"path={path!r}: row {number} has {len(row)} cells and the first {len(names)}; "
                "mend it, or pass the delimiter"
            )
    return {name: [row[place].strip() for row in rows[1:]] for place, name in enumerate(names)}


def _first_missing(cells: Sequence[str]) -> int | None:
    return next((row for row, cell in enumerate(cells) if cell.lower() in _MISSING), None)


def _first_beyond(cells: Sequence[str]) -> int | None:
    """The first row with a number that cannot be standardised: its square is no float any more."""
    for row, cell in enumerate(cells):
        try:
            beyond = abs(float(cell)) > _LARGEST
        except ValueError:
            continue
        if beyond:
            return row
    return None


def _numbers_if(cells: Sequence[str]) -> npt.NDArray[np.generic]:
    """The cells as numbers, if that is what they are: 10 comes after 9."""
    try:
        numbers = np.array([float(cell) for cell in cells])
    except ValueError:
        return np.array(cells)
    return numbers if np.isfinite(numbers).all() else np.array(cells)


def _encoded(cells: Sequence[str], categorical: bool, train: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """One column as columns of floats, by what train has in it."""
    present = [cell for cell in cells if cell.lower() not in _MISSING]
    if not categorical and _numbers_if(present).dtype.kind == "f":
        column = np.array([[np.nan if cell.lower() in _MISSING else float(cell)] for cell in cells])
        # A column of which train has nothing at all is 0 for everybody.
        steps = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    else:
        column = np.array([[None if cell.lower() in _MISSING else cell] for cell in cells], dtype=object)
        steps = make_pipeline(
            SimpleImputer(strategy="most_frequent", missing_values=None, keep_empty_features=True),
            OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        )
    fitted: npt.NDArray[np.float64] = steps.fit(column[train]).transform(column)
    return fitted
