"""Images in folders: on the disk with sizes that grow, or decoded once; parts are there, or split off train."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image
from torchvision.datasets import ImageFolder as Reader
from torchvision.datasets import Imagenette as TorchvisionsImagenette
from torchvision.transforms.v2 import functional

from recipes.data.image_folder import ImageFolder, ImageFolderInMemory
from recipes.data.imagenet import ImageNet, Imagenette
from tests.recipes.data.processes import process
from tests.recipes.data_made import make, tree

CLASSES = ["cat", "dog", "eel"]


@pytest.fixture
def root(tmp_path):
    tree(tmp_path / "set" / "train", CLASSES, each=10)
    return tmp_path / "set"


def paths(part):
    return set(part.files.tolist())


def on_disk(root, **options):
    data = ImageFolder(str(root), **{"size": 16, "num_workers": 0, "batch_size": 4, **options})
    data.setup("fit")
    return data


def test_what_has_no_folder_is_split_off_train_with_a_fixed_seed(root):
    data = on_disk(root)
    assert (data.shape, data.channels, data.num_classes) == ((3, 16, 16), 3, 3)
    parts = [paths(part) for part in (data.train, data.val, data.test)]
    assert [len(part) for part in parts] == [21, 3, 6]
    assert set().union(*parts) == {f"train/{name}/{index:04d}.JPEG".encode() for name in CLASSES for index in range(10)}
    assert [np.bincount(part.labels).tolist() for part in (data.train, data.val, data.test)] == [
        [7] * 3,
        [1] * 3,
        [2] * 3,
    ]
    torch.manual_seed(1)
    assert paths(on_disk(root, shuffle_seed=4).val) == parts[1]
    assert paths(on_disk(root, split_seed=4).val) != parts[1]


@pytest.mark.parametrize("there", [("val",), ("test",), ("val", "test")])
def test_parts_that_have_a_folder_are_taken_from_it(root, there):
    for part in there:
        tree(root / part, CLASSES, each=2)
    data = on_disk(root)
    expected = {"val": 6 if "val" in there else 3, "test": 6}
    for part, number in expected.items():
        found = paths(getattr(data, part))
        assert len(found) == number
        assert {path.split(b"/")[0].decode() for path in found} == {part if part in there else "train"}
    assert len(data.train) + sum(number for part, number in expected.items() if part not in there) == 30


def test_labels_go_by_the_classes_of_train(root):
    # Without its first class a folder of its own would number the others anew.
    tree(root / "val", ["dog", "eel"], each=2)
    data = on_disk(root)
    assert [int(label) for _, label in data.val] == [1, 1, 2, 2]
    tree(root / "test", ["fox"], each=1)
    with pytest.raises(ValueError, match=r"^root=.*test has a class 'fox' that train does not have; take it away"):
        on_disk(root)


def test_evaluation_is_the_centre_of_each_image_normalised(root):
    tree(root / "test", CLASSES, each=2)
    data = on_disk(root)
    images = torch.cat([images for images, _ in data.test_dataloader()])
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    for index, (image, label) in enumerate(Reader(str(root / "test"))):
        expected = functional.center_crop(functional.resize(image, [18]), [16])
        expected = functional.normalize(functional.to_dtype(functional.pil_to_tensor(expected), scale=True), mean, std)
        torch.testing.assert_close(images[index], expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(data.test[index][0], expected, rtol=0, atol=1e-5)
        assert data.test[index][1] == label


def same(first, second):
    return len(first) == len(second) and all(
        torch.equal(a, b) for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=True)
    )


def epoch(data, number):
    loader = data.train_dataloader()
    loader.set_epoch(number)
    return list(loader)


def test_what_is_random_depends_on_the_seed_and_the_epoch_alone(root):
    data = on_disk(root, flip=True)
    before = torch.get_rng_state()
    first = epoch(data, 1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(7)
    assert same(first, epoch(on_disk(root, flip=True), 1))
    assert not same(first, epoch(data, 2))
    assert not same(first, epoch(on_disk(root, flip=True, shuffle_seed=1), 1))


def test_processes_share_the_batches_of_one(root):
    data = on_disk(root, flip=True, batch_size=6, drop_last=True)
    alone = epoch(data, 1)
    shares = []
    for rank in (0, 1):
        half = on_disk(root, flip=True, batch_size=3, drop_last=True)
        half.trainer = process(rank, of=2)
        shares.append(epoch(half, 1))
    assert len(alone) == 3
    for (images, labels), *parts in zip(alone, *shares, strict=True):
        together = torch.stack([images for images, _ in parts], 1).flatten(0, 1)
        assert torch.equal(together, images)
        assert torch.equal(torch.stack([labels for _, labels in parts], 1).flatten(), labels)


def test_a_resumed_loader_decodes_the_rest_alone(root, monkeypatch):
    data = on_disk(root)
    loader = data.train_dataloader()
    loader.set_epoch(2)
    batches = iter(loader)
    for _ in range(4):
        next(batches)
    state, rest = loader.state_dict(), list(batches)
    opened = []
    real = Image.open
    monkeypatch.setattr("recipes.data.on_disk.Image.open", lambda path: opened.append(path) or real(path))
    again = on_disk(root).train_dataloader()
    again.load_state_dict(state)
    assert same(list(again), rest)
    assert len(opened) == 21 - 4 * 4


def test_sizes_grow_by_the_epoch_and_the_test_has_the_last(root):
    data = on_disk(root, size=24, sizes={0: 8, "50%": 16, 3: 24})
    data.trainer = process(max_epochs=4, state=SimpleNamespace(fn=TrainerFn.FITTING))
    loader, validation = data.train_dataloader(), data.val_dataloader()
    for number, size in enumerate([8, 8, 16, 24]):
        for each in (loader, validation):
            # The same loader: nothing is made anew.
            each.set_epoch(number)
            assert {images.shape[1:] for images, _ in each} == {(3, size, size)}
    data.trainer.state.fn = TrainerFn.TESTING
    for each in (data.val_dataloader(), data.test_dataloader()):
        assert {images.shape[1:] for images, _ in each} == {(3, 24, 24)}


@pytest.mark.parametrize("kind", [ImageFolder, ImageFolderInMemory])
def test_a_tree_that_is_none_is_told(kind, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^root='nowhere': nowhere/train is missing; put what torchvision"):
        kind("nowhere")
    (tmp_path / "train").mkdir()
    with pytest.raises(FileNotFoundError, match=r"^root=.*train has no folders; give each class one, with its images$"):
        kind(str(tmp_path))
    (tmp_path / "train" / "cat").mkdir()
    with pytest.raises(FileNotFoundError, match=r"^root=.*: Found no valid file for the classes cat") as refused:
        kind(str(tmp_path)).setup("fit")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"size": 0}, "^size=0: out of range"),
        ({"scale": 0.0}, "^scale=0.0: out of range; pass a share above 0, at most 1$"),
        ({"num_workers": -1}, "^num_workers=-1: out of range; pass processes, 0 for none$"),
        ({"sizes": {1: 8}}, "^sizes=.*says nothing of the first epoch"),
        ({"val_size": 2.0}, "^val_size=2.0: out of range"),
        ({"batch_size": 0}, "^batch_size=0: out of range"),
    ],
)
def test_refusals(root, arguments, said):
    with pytest.raises(ValueError, match=said):
        ImageFolder(str(root), **arguments)


def test_in_memory_images_are_bytes_decoded_once_and_normalised_by_train(root):
    tree(root / "test", CLASSES, each=2)
    data = ImageFolderInMemory(str(root), size=16, batch_size=30, val_size=0.1)
    data.setup("fit")
    assert (data.shape, data.num_classes) == ((3, 16, 16), 3)
    assert [len(part) for part in (data.train, data.val, data.test)] == [27, 3, 6]
    for index, (image, label) in enumerate(Reader(str(root / "test"))):
        expected = functional.pil_to_tensor(functional.center_crop(functional.resize(image, [16]), [16]))
        assert torch.equal(data.test.inputs[index], expected)
        assert int(data.test.labels[index]) == label
    ((images, _),) = data.train_dataloader()
    assert images.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-3)
    assert images[:, :2].std((0, 2, 3), correction=0).tolist() == pytest.approx([1, 1], abs=1e-3)


def test_in_memory_more_than_there_may_be_is_refused(root):
    with pytest.raises(ValueError, match=r"^size=20000: the images would take 34 GiB of memory, and at most 16 are"):
        ImageFolderInMemory(str(root), size=20000).setup("fit")


def test_imagenette_is_trained_on_train_and_tested_on_its_validation(tmp_path, monkeypatch):
    make("imagenette", tmp_path, monkeypatch)
    data = Imagenette(str(tmp_path), size=16, val_size=10, num_workers=0)
    data.setup("fit")
    assert (data.shape, data.num_classes) == ((3, 16, 16), 10)
    assert [len(part) for part in (data.train, data.val, data.test)] == [50, 10, 60]
    assert {path.split(b"/")[0] for path in paths(data.train) | paths(data.val)} == {b"train"}
    assert {path.split(b"/")[0] for path in paths(data.test)} == {b"val"}
    theirs = TorchvisionsImagenette(str(tmp_path), split="val", size="320px")
    assert [label for _, label in theirs] == data.test.labels.tolist()
    with pytest.raises(FileNotFoundError, match=r"^root=.*imagenette2/train is missing; .*imagenette2\.tgz"):
        Imagenette(str(tmp_path), edition="full")
    with pytest.raises(ValueError, match=r"^edition='80px': there is no such one; choose from full, 320px, 160px$"):
        Imagenette(str(tmp_path), edition="80px")


def test_imagenet_has_a_thousand_classes(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"^root='nowhere': nowhere/train is missing; .*image-net\.org"):
        ImageNet("nowhere")
    make("imagenet", tmp_path, monkeypatch)
    data = ImageNet(str(tmp_path), size=16, val_size=1000, num_workers=0)
    data.setup("fit")
    assert (data.shape, data.num_classes) == ((3, 16, 16), 1000)
    assert [len(part) for part in (data.train, data.val, data.test)] == [1000, 1000, 1000]
    (tmp_path / "train" / "n00000999").rename(tmp_path / "n00000999")
    with pytest.raises(ValueError, match=r"^root=.*: train has 999 classes, and the set has 1000; unpack all of it"):
        ImageNet(str(tmp_path), val_size=1000).setup("fit")


@pytest.mark.parametrize("kind", ["in memory", 0, 1])
def test_a_file_that_was_cut_is_named_in_one_line(root, kind):
    file = root / "train" / "dog" / "0003.JPEG"
    file.write_bytes(file.read_bytes()[:200])

    def read():
        if kind == "in memory":
            return ImageFolderInMemory(str(root), size=16, val_size=3, test_size=3).setup("fit")
        data = on_disk(root, num_workers=kind)
        return [list(each) for each in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())]

    with pytest.raises(ValueError, match="cannot be decoded") as refused:
        read()
    assert str(refused.value).startswith(f"{file}: cannot be decoded (")
    assert str(refused.value).endswith("); replace it, or take it away")
    assert "\n" not in str(refused.value)
