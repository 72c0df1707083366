"""Image data sets from files: found in every usual place, read to the pixel, refused when they are something else."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import data_file
from pictures import FOLDERS, KINDS, MD5_NAMES, TEST, encoded, made_up, write, write_batches, write_parquet
from PIL import Image
from servers import Hub

from nasbench_robust.datasets import DATASETS
from nasbench_robust.errors import InvalidValueError, MissingDataError, MissingPackageError, SourceFormatError
from nasbench_robust.files import HOME_VARIABLE
from nasbench_robust.images import IMAGES_VARIABLE, Split, TensorImages, load_images


def assert_holds(images: TensorImages, splits: tuple[Split, Split]) -> None:
    pairs = ((images.train.pixels, images.train.labels), (images.test.pixels, images.test.labels))
    for (pixels, labels), split in zip(pairs, splits, strict=True):
        assert pixels.dtype == torch.uint8
        assert labels.dtype == torch.int64
        np.testing.assert_array_equal(pixels.numpy(), split.pixels)
        np.testing.assert_array_equal(labels.numpy(), split.labels)


@pytest.mark.parametrize(("name", "form"), KINDS)
def test_every_format_is_read_to_the_pixel_in_every_usual_place(name, form, small, tmp_path, monkeypatch):
    splits = made_up(name)
    write(tmp_path / "one", name, form, splits)
    write(tmp_path / "all" / name, name, form, splits)
    inside = tmp_path / "one" / (FOLDERS[name] if form == "batches" else ".")
    for root in (tmp_path / "one", str(inside), tmp_path / "all", tmp_path / "all" / name):
        assert_holds(load_images(name, root=root), splits)
    monkeypatch.setenv(IMAGES_VARIABLE, str(tmp_path / "nowhere"))
    assert_holds(load_images(name, root=tmp_path / "one"), splits)
    monkeypatch.setenv(IMAGES_VARIABLE, str(tmp_path / "all"))
    assert_holds(load_images(name.upper()), splits)


def test_first_plane_of_a_batch_is_red_and_rows_come_first(small, tmp_path):
    splits = made_up("cifar10")
    splits[0].pixels[0] = 0
    splits[0].pixels[0, 0, 1, 2] = 255  # red in the second row, third column
    write(tmp_path / "b", "cifar10", "batches", splits)
    write(tmp_path / "p", "cifar10", "parquet", splits)
    content = pickle.loads((tmp_path / "b" / FOLDERS["cifar10"] / "data_batch_1").read_bytes(), encoding="latin1")
    assert content["data"][0].nonzero()[0].tolist() == [32 + 2]
    stored = pq.read_table(tmp_path / "p" / "train-00000-of-00001.parquet")["img"][0].as_py()["bytes"]
    assert Image.open(io.BytesIO(stored)).getpixel((2, 1)) == (255, 0, 0)
    for folder in ("b", "p"):
        assert load_images("cifar10", root=tmp_path / folder).train.pixels[0].nonzero().tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("image", ["img", "image"])
def test_shards_columns_and_encodings_of_parquet(kind, image, small, tmp_path):
    splits = made_up("cifar10")
    write_parquet(tmp_path / "cifar10" / "plain_text", "cifar10", splits, kind=kind, image=image, shards=3)
    assert_holds(load_images("cifar10", root=tmp_path), splits)


def test_official_batches_come_before_parquet(small, tmp_path):
    splits = made_up("cifar10")
    write_parquet(tmp_path, "cifar10", tuple(Split(255 - pixels, labels) for pixels, labels in splits))
    write_batches(tmp_path / "cifar-10-batches-py", "cifar10", splits)
    assert_holds(load_images("cifar10", root=tmp_path), splits)


def test_parquet_without_pillow_says_what_to_install(small, tmp_path, monkeypatch):
    write_parquet(tmp_path, "cifar10", made_up("cifar10"))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingPackageError, match=r"'pillow' is needed.*pip install pillow "):
        load_images("cifar10", root=tmp_path)


def test_imagenet16_keeps_the_first_120_classes_of_a_thousand(small, tmp_path):
    splits = made_up("ImageNet16-120")
    write_batches(tmp_path, "ImageNet16-120", splits)
    content = pickle.loads((tmp_path / "val_data").read_bytes(), encoding="latin1")
    assert len(content["labels"]) == 2 * TEST
    assert (min(content["labels"]), max(content["labels"])) == (1, 240)
    assert_holds(load_images("imagenet16", root=tmp_path), splits)


def test_official_files_are_recognised_by_their_checksum(small, tmp_path, monkeypatch):
    splits = made_up("cifar100")
    folder = write_batches(tmp_path / "cifar-100-python", "cifar100", splits)
    sums = {file: hashlib.md5((folder / file).read_bytes()).hexdigest() for file in ("train", "test")}
    layout = replace(DATASETS["cifar100"].layouts[0], md5=sums)
    monkeypatch.setitem(DATASETS, "cifar100", replace(DATASETS["cifar100"], layouts=(layout,)))
    assert_holds(load_images("cifar100", root=tmp_path), splits)
    content = bytearray((folder / "test").read_bytes())
    content[-1000] ^= 1
    (folder / "test").write_bytes(content)
    with pytest.raises(SourceFormatError, match=f"its MD5 is .*that of the official file is {sums['test']}"):
        load_images("cifar100", root=tmp_path)


def test_checksums_are_of_all_files_and_differ():
    sums = [value for row in DATASETS.values() for layout in row.layouts for value in layout.md5.values()]
    assert len(sums) == len(set(sums)) == 6 + 2 + 11
    assert all(re.fullmatch("[0-9a-f]{32}", value) for value in sums)


def test_harmful_batch_is_refused_and_nothing_runs(small, tmp_path):
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'trace'}",)

    folder = write_batches(tmp_path / "cifar-10-batches-py", "cifar10", made_up("cifar10"))
    (folder / "data_batch_3").write_bytes(pickle.dumps({"data": Harm(), "labels": [0]}))
    with pytest.raises(SourceFormatError, match=r"data_batch_3: it asks for \w+\.system"):
        load_images("cifar10", root=tmp_path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", FOLDERS)
def test_what_is_missing_is_named_with_every_alternative(name, small, tmp_path):
    with pytest.raises(MissingDataError, match=f"no folder of {name} was named; expected, .*{IMAGES_VARIABLE}") as none:
        load_images(name)
    with pytest.raises(MissingDataError, match=f"no complete {name} in {tmp_path}; expected") as empty:
        load_images(name, root=tmp_path)
    with pytest.raises(MissingDataError, match="there is no such folder; expected"):
        load_images(name, root=tmp_path / "nowhere")
    for said in (str(none.value), str(empty.value)):
        assert all(file in said for file in MD5_NAMES[name])
        assert ("train-*.parquet" in said and f"hub:uoft-cs/{name}" in said) == name.startswith("cifar")


def test_incomplete_data_set_says_what_lacks(small, tmp_path):
    folder = write_batches(tmp_path / "cifar-10-batches-py", "cifar10", made_up("cifar10"))
    (folder / "data_batch_4").unlink()
    (folder / "test_batch").unlink()
    with pytest.raises(MissingDataError, match="cifar-10-batches-py lacks data_batch_4, test_batch; expected"):
        load_images("cifar10", root=tmp_path)


def test_folders_are_not_mistaken_for_files(small, tmp_path):
    for inside in ("train", "test"):
        (tmp_path / inside).mkdir()
    with pytest.raises(MissingDataError, match="no complete cifar100"):
        load_images("cifar100", root=tmp_path)


def test_another_data_set_is_not_mistaken(small, tmp_path):
    ten = write_parquet(tmp_path / "ten", "cifar10", made_up("cifar10"))
    hundred = write_parquet(tmp_path / "hundred", "cifar100", made_up("cifar100"))
    with pytest.raises(SourceFormatError, match="no image of 90 of the 100 classes, the first being 10: is this"):
        load_images("cifar100", root=ten)
    with pytest.raises(SourceFormatError, match=r"train split: classes 0\.\.99, expected 0\.\.9"):
        load_images("cifar10", root=hundred)


def test_wrong_sizes_are_refused(small, tmp_path):
    train, test = made_up("cifar10")
    write_parquet(tmp_path, "cifar10", (train, Split(test.pixels[1:], test.labels[1:])))
    expected = r"test split: pixels of shape \(129, 3, 32, 32\) and 129 labels, expected \(130, 3, 32, 32\) and 130"
    with pytest.raises(SourceFormatError, match=expected):
        load_images("cifar10", root=tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"labels": [0]}, "no 'data' among its keys 'labels'"),
        ({"data": np.zeros((2, 3072), np.uint8)}, "no 'labels' among its keys 'data'"),
        ({"data": [1], "labels": [0]}, "data: list, expected uint8"),
        ({"data": np.zeros((2, 768), np.uint8), "labels": [0, 1]}, r"uint8 of shape \(2, 768\), expected .*3072"),
        ({"data": np.zeros((2, 3072), np.float32), "labels": [0, 1]}, "float32 of shape"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}, r"labels: int64 of shape \(1,\), expected"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0, "cat"]}, "labels: .* expected integers"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [[0], [1, 2]]}, "labels: .* expected integers"),
    ],
)
def test_batch_of_another_form_is_refused(content, problem, small, tmp_path):
    folder = write_batches(tmp_path, "cifar10", made_up("cifar10"))
    (folder / "data_batch_1").write_bytes(pickle.dumps(content))
    with pytest.raises(SourceFormatError, match=problem):
        load_images("cifar10", root=tmp_path)


def jpeg(pixels: np.ndarray) -> bytes:
    return encoded(pixels, "JPEG")


RED = np.zeros((3, 32, 32), np.uint8)


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"img": [b"no image"], "label": [0]}, "row 0: not a readable PNG or WEBP"),
        ({"img": [encoded(RED)[:60]], "label": [0]}, "row 0: not a readable PNG or WEBP"),
        ({"img": [jpeg(RED)], "label": [0]}, "row 0: not a readable PNG or WEBP"),
        ({"img": [encoded(RED), encoded(RED[:, :16])], "label": [0, 0]}, r"row 1: RGB image of \(32, 16\) pixels"),
        ({"img": [{"bytes": None, "path": "a.png"}, {"bytes": b"", "path": ""}], "label": [0, 0]}, "row 0: holds no"),
        ({"img": ["text"], "label": [0]}, "column 'img': string, expected binary"),
        ({"img": [{"path": "a.png"}], "label": [0]}, "column 'img': struct<path: string>, expected binary"),
        ({"img": [encoded(RED)], "label": [None]}, "column 'label': null, expected integers"),
        ({"img": [encoded(RED)] * 2, "label": [0, None]}, "labels: 1 of them are missing"),
        ({"img": [encoded(RED)], "label": [0.5]}, "column 'label': double, expected integers"),
        ({"picture": [encoded(RED)], "label": [0]}, "columns picture, label, expected 'img' or 'image'"),
        ({"img": [encoded(RED)], "class": [0]}, "columns img, class, expected 'fine_label' or 'label'"),
    ],
)
def test_parquet_of_another_form_is_refused(columns, problem, small, tmp_path):
    write_parquet(tmp_path, "cifar10", made_up("cifar10"))
    pq.write_table(pa.table(columns), tmp_path / "train-00000-of-00001.parquet")
    with pytest.raises(SourceFormatError, match=problem):
        load_images("cifar10", root=tmp_path)


def test_shards_that_lack_and_files_that_are_no_parquet_are_refused(small, tmp_path):
    write_parquet(tmp_path, "cifar10", made_up("cifar10"), shards=2)
    (tmp_path / "train-00001-of-00002.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceFormatError, match="not a readable Parquet file"):
        load_images("cifar10", root=tmp_path)
    (tmp_path / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(SourceFormatError, match=r"1 file\(s\) train-\*\.parquet, expected 2"):
        load_images("cifar10", root=tmp_path)


# ---------------------------------------------------------------------- the hub

COMMIT = "a" * 40
LOAD = """
import json, sys
from dataclasses import replace
from nasbench_robust.datasets import DATASETS
from nasbench_robust.errors import NasbenchRobustError
from nasbench_robust.images import load_arrays
DATASETS["cifar10"] = replace(DATASETS["cifar10"], train_images=256, test_images=130)
for root in sys.argv[1:]:
    try:
        answer = int(load_arrays("cifar10", root=root).train.pixels.sum(dtype=int))
    except NasbenchRobustError as error:
        answer = f"{type(error).__name__}: {error}"
    print(json.dumps(answer))
"""


@pytest.fixture
def repository(hub: Hub, tmp_path: Path) -> Hub:
    """A repository with both splits below a folder, and a file that nobody needs."""
    folder = write_parquet(tmp_path / "repository" / "plain_text", "cifar10", made_up("cifar10"))
    files = {f"plain_text/{file.name}": file.read_bytes() for file in sorted(folder.iterdir())}
    hub.commits = {COMMIT: {**files, "README.md": b"# card"}}
    return hub


def test_repository_of_the_hub_is_downloaded_once(repository):
    total, sources = int(made_up("cifar10")[0].pixels.astype(int).sum()), ("hub:owner/name", f"hub:owner/name@{COMMIT}")
    assert repository.answers(LOAD, *sources) == [total, total]
    assert sorted(request.rpartition("/")[2].partition("-")[0] for request in repository.downloads) == ["test", "train"]
    repository.requests.clear()
    *known, absent = repository.answers(LOAD, *sources, "hub:owner/other", NASBENCH_ROBUST_OFFLINE="1")
    assert known == [total, total]
    assert absent.startswith("MissingDataError: hub:owner/other is not on this machine and NASBENCH_ROBUST_O")
    assert repository.requests == []


def test_what_the_hub_does_not_have_is_a_download_error(repository):
    del repository.commits[COMMIT]["plain_text/test-00000-of-00001.parquet"]
    other, lacking = repository.answers(LOAD, "hub:owner/other", f"hub:owner/name@{COMMIT}")
    assert other.startswith("DownloadError: hub:owner/other: ")
    assert lacking == f"DownloadError: hub:owner/name@{COMMIT}: there is no file like *test-*.parquet in it"


def test_malformed_hub_name_is_refused():
    with pytest.raises(InvalidValueError, match="expected hub:owner/name or hub:owner/name@revision"):
        load_images("cifar10", root="hub:cifar10")


# ---------------------------------------------------------------------- the real files


@pytest.mark.parametrize(("name", "image", "label"), [("cifar10", "img", "label"), ("cifar100", "img", "fine_label")])
def test_real_files_are_read_to_the_pixel(name, image, label, tmp_path, monkeypatch):
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    folder, facts = data_file(name), DATASETS[name]
    images = load_images(name, root=folder.parent)
    assert load_images(name, root=folder.parent) == images  # as they are kept
    for split, pixels, labels in (
        ("train", images.train.pixels, images.train.labels),
        ("test", images.test.pixels, images.test.labels),
    ):
        table = pq.read_table(next(folder.glob(f"{split}-*.parquet")))
        assert table.column_names[0] == image
        stated = table[label if label in table.column_names else "label"]
        assert labels.tolist() == stated.to_pylist()
        for row in (0, 1, 999, 1000, len(table) // 2 + 1, len(table) - 1):
            picture = Image.open(io.BytesIO(table[image][row].as_py()["bytes"])).convert("RGB")
            assert all(
                picture.getpixel((x, y)) == tuple(pixels[row, :, y, x].tolist()) for x in range(32) for y in range(32)
            )
    assert set(images.train.labels.bincount().tolist()) == {50_000 // facts.classes}
    assert set(images.test.labels.bincount().tolist()) == {10_000 // facts.classes}
    # The published normalisation, which was computed from the official files: no image is missing, doubled or altered.
    for channel in range(3):
        counts = images.train.pixels[:, channel].flatten().bincount(minlength=256).double()
        levels = torch.arange(256).double() / 255
        mean = (counts * levels).sum() / counts.sum()
        std = ((counts * (levels - mean) ** 2).sum() / counts.sum()).sqrt()
        assert mean.item() == pytest.approx(facts.mean[channel], abs=0.06 / 255)
        assert std.item() == pytest.approx(facts.std[channel], abs=0.06 / 255)
