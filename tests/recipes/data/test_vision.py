"""The named sets are what torchvision reads, split with a fixed seed; what is missing is told at once."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
import torchvision.datasets

from recipes.data import vision
from tests.recipes.data.processes import process
from tests.recipes.data_made import make

SETS = {
    "mnist": (vision.MNIST, (1, 28, 28), 10),
    "fashion_mnist": (vision.FashionMNIST, (1, 28, 28), 10),
    "cifar10": (vision.CIFAR10, (3, 32, 32), 10),
    "cifar100": (vision.CIFAR100, (3, 32, 32), 100),
    "svhn": (vision.SVHN, (3, 32, 32), 10),
}


def torchvisions(name, root, train):
    kind = getattr(torchvision.datasets, SETS[name][0].__name__)
    if name == "svhn":
        return kind(root, split="train" if train else "test")
    return kind(root, train=train)


def digests(images):
    return [hashlib.sha1(image.numpy().tobytes()).hexdigest() for image in images]


@pytest.fixture
def made(request, tmp_path, monkeypatch):
    """A set on files made here, and its folder."""
    make(request.param, tmp_path / "root", monkeypatch)
    kind, shape, classes = SETS[request.param]
    small = {"val_size": 100 if classes == 100 else 20}
    data = kind(str(tmp_path / "root"), **small)
    data.setup("fit")
    return request.param, data, shape, classes


@pytest.mark.parametrize("made", SETS, indirect=True)
def test_samples_are_torchvisions(made, tmp_path):
    name, data, shape, classes = made
    assert (data.shape, data.channels, data.num_classes) == (shape, shape[0], classes)
    for train, parts in ((True, (data.train, data.val)), (False, (data.test,))):
        theirs = torchvisions(name, tmp_path / "root", train)
        expected = {}
        for image, label in theirs:
            pixels = torch.from_numpy(np.array(image)).reshape(*shape[1:], shape[0]).permute(2, 0, 1).contiguous()
            expected[digests([pixels])[0]] = label
        found = {
            digest: int(label)
            for part in parts
            for digest, label in zip(digests(part.inputs), part.labels, strict=True)
        }
        assert found == expected
        assert sum(map(len, parts)) == len(theirs)
    assert data.train.inputs.dtype == torch.uint8
    assert set(data.val.labels.tolist()) == set(range(classes))
    image, _ = data.train[0]
    mean, std = (torch.tensor(each).reshape(-1, 1, 1) for each in (data.mean, data.std))
    torch.testing.assert_close(image, (data.train.inputs[0] / 255 - mean) / std, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SETS)
def test_the_split_depends_on_its_seed_alone(name, tmp_path, monkeypatch):
    make(name, tmp_path / "root", monkeypatch)
    kind, _, classes = SETS[name]

    def val(**options):
        data = kind(str(tmp_path / "root"), val_size=max(20, classes), **options)
        data.setup("test")
        return digests(data.val.inputs)

    torch.manual_seed(1)
    first = val()
    torch.manual_seed(2)
    assert val(shuffle_seed=7, crop=4, batch_size=3) == first
    assert val(split_seed=1) != first


@pytest.mark.parametrize("name", SETS)
def test_each_missing_file_is_named_with_its_place_and_source(name, tmp_path, monkeypatch):
    kind, _, _ = SETS[name]
    for file in kind.files:
        make(name, tmp_path / file.replace("/", "-"), monkeypatch)
        root = tmp_path / file.replace("/", "-")
        (root / file).unlink()
        with pytest.raises(FileNotFoundError) as refused:
            kind(str(root))
        assert str(refused.value) == (
            f"root={str(root)!r}: {root / file} is missing; put what torchvision.datasets.{kind.__name__} reads there, "
            f"unpacked: {kind.source} (nothing is downloaded)"
        )


@pytest.mark.parametrize("made", ["cifar10", "svhn"], indirect=True)
def test_a_file_with_another_checksum_is_refused(made, monkeypatch):
    _, data, _, _ = made
    monkeypatch.undo()  # torchvision's own check
    again = type(data)(data.root)
    with pytest.raises(ValueError, match=f"^root='.*': a file of {type(data).__name__} is not the original"):
        again.setup("fit")


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03\0\0\0\x05", b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0"])
def test_a_file_that_was_cut_is_told(content, tmp_path, monkeypatch):
    make("mnist", tmp_path, monkeypatch)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"^root='.*': a file of MNIST is cut, or another's \(.*; replace it with that of"
    ):
        vision.MNIST(str(tmp_path)).setup("fit")


def test_what_is_known_without_data():
    for kind, shape, classes in SETS.values():
        assert (kind.shape, kind.num_classes) == (shape, classes)


@pytest.mark.parametrize("made", ["cifar10"], indirect=True)
def test_training_is_augmented_and_evaluation_is_not(made, tmp_path):
    data = vision.CIFAR10(str(tmp_path / "root"), batch_size=10, val_size=20, crop=4, flip=True, cutout=8)
    data.setup("fit")
    (images, _), *_ = data.train_dataloader()
    assert images.shape == (10, 3, 32, 32)
    plain = {digests([image])[0] for image in data.train.ready(data.train.inputs)}
    assert not plain & set(digests(images))
    for loader, part in ((data.val_dataloader(), data.val), (data.test_dataloader(), data.test)):
        assert torch.equal(torch.cat([images for images, _ in loader]), part.ready(part.inputs))
    # To overfit, the first batches of each epoch are the same, and they are plain.
    data.trainer = process(overfit_batches=1)
    loader = data.train_dataloader()
    first, _ = next(iter(loader))
    loader.set_epoch(1)
    assert torch.equal(next(iter(loader))[0], first)
    assert set(digests(first)) <= plain


@pytest.mark.parametrize("made", ["mnist"], indirect=True)
def test_files_are_read_once(made, monkeypatch):
    _, data, _, _ = made
    before = data.train
    monkeypatch.setattr(data, "read", None)
    data.setup("test")
    assert data.train is before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"val_size": 0}, "^val_size=0: out of range; pass an int of at least 1$"),
        ({"val_size": 1.5}, "^val_size=1.5: out of range; pass a share between 0 and 1, or an int of samples$"),
        ({"batch_size": 0}, "^batch_size=0: out of range"),
        ({"crop": 32}, "^crop=32: images of 32 x 32 pixels have no more to reflect; pass at most 31$"),
        ({"padding": "mirror"}, "^padding='mirror': there is no such padding"),
    ],
)
def test_refusals_come_before_files_are_asked_for(arguments, said):
    with pytest.raises(ValueError, match=said):
        vision.CIFAR10("nowhere", **arguments)


@pytest.mark.parametrize("made", ["cifar10"], indirect=True)
@pytest.mark.parametrize(
    ("val_size", "said"),
    [
        (100, "^val_size=100: nothing is left to train on; there are 100 samples to part$"),
        (9, "^val_size=9: 100 samples of 10 classes .* pass a number from 10 to 90$"),
        (95, "^val_size=95: .* pass a number from 10 to 90$"),
    ],
)
def test_a_split_has_each_class_on_both_sides(made, tmp_path, val_size, said):
    with pytest.raises(ValueError, match=said):
        vision.CIFAR10(str(tmp_path / "root"), val_size=val_size).setup("fit")
