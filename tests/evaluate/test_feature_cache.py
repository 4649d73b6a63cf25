"""Frozen features are extracted once for a model and a set, and never for another."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.machine import high_water_bytes
from flava.config import ProbeConfig
from flava.errors import DataError, TrainingError
from flava.evaluate import feature_cache, features, retrieval, vision, zero_shot
from flava.evaluate.feature_cache import FeatureCache
from flava.evaluate.formats.rendered_sst2 import DrawnTexts
from flava.evaluate.images import ArrayImages, EncodedImages, ImageSource
from flava.evaluate.taskdata import LabelledTask, RetrievalTask, Split, ZeroShotTask
from tests.evaluate.fakes import FakeBackbone, FakeTokenizer, colour_png, context, write_zip


class Counted(FakeBackbone):
    """Counts the images and texts of its forward passes."""

    seen = read = 0

    def text_features(self, text_BL, attention_BL, types_BL=None):
        self.read += len(text_BL)
        return super().text_features(text_BL, attention_BL, types_BL)

    def image_features(self, pixels_BCHW):
        self.seen += len(pixels_BCHW)
        return super().image_features(pixels_BCHW)


def export(folder, seed=0):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights %d" % seed)
    return folder


@pytest.fixture
def cache(tmp_path):
    return FeatureCache.of(str(tmp_path / "cache"), export(tmp_path / "model"))


def task(path, changed=False):
    members = {
        f"{i}.png": colour_png(bool(i % 2), i + 100 * (changed and i == 7)) for i in range(40)
    }
    source = ImageSource(write_zip(path, members))
    images, labels = EncodedImages(source, [f"{i}.png" for i in range(40)]), np.arange(40) % 2
    parts = [Split(labels[r], images, r) for r in (np.arange(24), np.arange(24, 40))]
    return LabelledTask(train=parts[0], tests={"test": parts[1]}, classes=["blue", "red"])


def probe(cache, data):
    model = Counted()
    (score,) = vision.evaluate(
        context("linear_probe", model=model, cache=cache), data, ProbeConfig(steps=12)
    )
    return model.seen, score


def test_a_second_evaluation_makes_no_forward_pass(cache, tmp_path):
    first, again = (probe(cache, task(tmp_path / "a.zip")) for _ in range(2))
    assert (first[0], again[0]) == (40, 0)
    assert first[1] == again[1]
    assert probe(FeatureCache.of(None, tmp_path), task(tmp_path / "a.zip"))[1] == first[1]


def test_another_model_or_other_data_are_extracted(cache, tmp_path):
    probe(cache, task(tmp_path / "a.zip"))
    other = FeatureCache.of(str(cache.folder), export(tmp_path / "other", seed=1))
    assert probe(other, task(tmp_path / "a.zip"))[0] == 40
    assert probe(cache, task(tmp_path / "b.zip", changed=True))[0] == 24, "the split that changed"
    images = ArrayImages(np.zeros((2, 8, 8, 3), np.uint8))
    model = Counted()
    for size in (16, 32):
        cache.image_features(model.image_features, images, np.arange(2), size, "it")
    cache.image_features(model.image_embeddings, images, np.arange(2), 16, "it")
    assert model.seen == 6, "size and function count too"


@pytest.mark.parametrize("damage", ["cut", "byte", "no record"])
def test_damaged_files_are_made_anew(cache, tmp_path, capsys, damage):
    first = probe(cache, task(tmp_path / "a.zip"))[1]
    for path in cache.folder.glob("*.npy"):
        content = path.read_bytes()
        if damage == "no record":
            path.with_suffix(".json").unlink()
        else:
            path.write_bytes(content[:-9] if damage == "cut" else content[:-1] + b"\xff")
    seen, score = probe(cache, task(tmp_path / "a.zip"))
    assert seen == 40
    assert score == first
    assert "is damaged" in capsys.readouterr().err
    assert probe(cache, task(tmp_path / "a.zip"))[0] == 0
    assert not [p for p in cache.folder.iterdir() if p.suffix == ".tmp"]


def test_repeated_and_unordered_rows(cache):
    pictures = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    model, rows = Counted(), np.array([3, 1, 3, 4])
    for _ in range(2):
        found = cache.image_features(model.image_features, ArrayImages(pictures), rows, 16, "it")
        assert np.array_equal(found[0], found[2])
        alone = cache.image_features(
            model.image_features, ArrayImages(pictures), np.array([1]), 16, "it"
        )
        assert np.allclose(found[1], alone[0], atol=1e-6)
    assert model.seen == 3 + 1


def test_broken_features_leave_no_file(cache, tmp_path):
    model = Counted()
    model.patches.bias.data[0] = float("nan")
    with pytest.raises(TrainingError, match="are not finite"):
        vision.evaluate(
            context("linear_probe", model=model, cache=cache), task(tmp_path / "a.zip"),
            ProbeConfig(steps=12),
        )  # fmt: skip
    assert not cache.folder.exists()


def retrieve(cache, captions):
    images = ArrayImages(np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8))
    model, data = Counted(), RetrievalTask(images, captions, np.arange(len(captions)) // 2)
    scores = retrieval.evaluate(context("retrieval", model=model, cache=cache), data)
    return (model.seen, model.read), scores


def test_retrieval_and_its_captions_use_it_too(cache):
    captions = [f"caption {i % 9}" for i in range(12)]
    first, again = (retrieve(cache, captions) for _ in range(2))
    assert (first[0], again[0]) == ((6, 9), (0, 0))
    assert first[1] == again[1] == retrieve(FeatureCache.of(None, cache.folder), captions)[1]
    assert retrieve(cache, [*captions[:-1], "another one"])[0] == (0, 10)
    assert retrieve(FeatureCache(cache.folder, "another model"), captions)[0] == (6, 9)


def test_another_padding_or_torch_reads_texts_anew(cache, monkeypatch):
    model = Counted()
    for place, name, value in (
        (FakeTokenizer, "pad_id", 0), (FakeTokenizer, "pad_id", 9), (torch, "__version__", "0"),
    ):  # fmt: skip
        monkeypatch.setattr(place, name, value)
        for _ in range(2):
            cache.text_features(model.text_features, ["a dog", "cat"], FakeTokenizer(), 8, "it")
    assert model.read == 3 * 2


def test_zero_shot_prompts_use_it_too(cache):
    images = ArrayImages(np.zeros((2, 8, 8, 3), np.uint8))
    split = Split(np.array([0, 1]), images, np.arange(2))
    data = ZeroShotTask(split, ["dog", "cat", "cow"], ["a {}.", "the {}."])
    for expected in ((2, 6), (0, 0)):
        model = Counted()
        zero_shot.evaluate(context("zero_shot", model=model, cache=cache), data)
        assert (model.seen, model.read) == expected


CPU = torch.device("cpu")


class Blank:
    """Black pictures that no array holds."""

    def pixels(self, indices, size):
        return np.zeros((len(indices), size, size, 3), np.uint8)


def test_extraction_holds_the_features_once():
    """Of ImageNet they are 4 GB: a copy or two of them would not fit where they do."""
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        pytest.skip("the kernel tells no peak of memory")
    of_a_batch = torch.rand(256, 1024)
    rows = np.arange(40_000)
    reset.write_text("5")
    before = high_water_bytes(CPU)
    found = features.image_features(lambda x: of_a_batch[: len(x)], Blank(), rows, 4, "it")
    assert high_water_bytes(CPU) - before < 1.4 * found.nbytes
    assert np.array_equal(found[-64:], of_a_batch[:64])


def test_edited_code_extracts_anew(cache, tmp_path, monkeypatch):
    """Only the code that decides what a feature is, and as it was when the process started."""
    package = tmp_path / "flava"
    shutil.copytree(feature_cache.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    seen = []
    edits = ("models/encoders.py", "data/transforms.py", "evaluate/formats/pcam.py")
    for edited in (None, *edits, "evaluate/metrics.py"):
        if edited is not None:
            with open(package / edited, "a") as file:
                file.write("# another version\n")
        monkeypatch.setattr(feature_cache, "CODE_AT_START", feature_cache.code_of(package))
        seen.append(probe(cache, task(tmp_path / "a.zip"))[0])
    assert seen == [40, 40, 40, 40, 0]
    assert feature_cache.computed_by().keys() == {"code", "torch", "pillow", "device"}
    monkeypatch.setattr(feature_cache, "code_of", lambda _: "edited since")
    assert probe(cache, task(tmp_path / "a.zip"))[0] == 0


def test_all_code_that_makes_pixels_counts():
    known = {path for part in feature_cache.CODE for path in feature_cache.PACKAGE.glob(part)}
    makers = {
        path
        for path in (feature_cache.PACKAGE / "evaluate").rglob("*.py")
        if "    def pixels(self" in path.read_text() and path.name != "taskdata.py"
    }
    assert len(makers) == 3 and makers <= known


def test_digests_follow_content_and_order(tmp_path):
    drawn = DrawnTexts(["a film", "another film"])
    arrays = ArrayImages(np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3))
    for images in (drawn, arrays):
        both, turned = images.digest(np.array([0, 1])), images.digest(np.array([1, 0]))
        assert both != turned
        assert both == images.take(np.array([1, 0])).digest(np.array([1, 0]))
    source = ImageSource(write_zip(tmp_path / "a.zip", {"a.png": colour_png(True, 0)}))
    gone = EncodedImages(source, ["a.png", "b.png"])
    with pytest.raises(DataError, match="b\\.png"):
        gone.digest(np.array([1]))
    assert torch.get_float32_matmul_precision() == "highest"
