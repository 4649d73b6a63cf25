"""Files that are wrong, damaged or hold code, and hub names with and without network."""

from __future__ import annotations

import hashlib
import http.server
import os
import pickle
import random
import threading
import zipfile
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from published_cases import SMALL, load, save, spread

from flava.config import ClipConfig, WeightsConfig
from flava.errors import CheckpointError, DataError
from flava.models import Flava, save_model
from flava.models.published.files import read_file
from flava.models.published.torchscript import read_torchscript


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(spread(Flava(SMALL)), tmp_path / "model")
    return tmp_path / "model"


class Attack:
    """A pickle of it writes a file when it is read carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_hash_is_checked_before_reading(folder: Path):
    weights = folder / "model.safetensors"
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert load(folder, "flava", "image", sha256=sha256).report["sha256"] == sha256
    weights.write_bytes(b"nothing readable")
    with pytest.raises(CheckpointError, match=f"but the study asks for {sha256}"):
        load(folder, "flava", "image", sha256=sha256)


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth", "empty.pth", "text.pth"])
def test_truncated_files(folder: Path, name: str):
    path = folder / name
    if name == "model.pth":
        save({"cls_token": torch.zeros(4000)}, path)
    data = {"empty.pth": b"", "text.pth": b"<html>not found</html>"}.get(name)
    path.write_bytes(path.read_bytes()[:1000] if data is None else data)
    with pytest.raises(CheckpointError, match="damaged or is no weights file"):
        load(path, "flava", "image")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["new.pth", "old.pth", "archive.pt", "x.safetensors"])
def test_flipped_bytes_never_crash(tmp_path: Path, form: str):
    path, state = tmp_path / form, {"weight": torch.randn(4, 3)}
    if form == "archive.pt":
        torch.jit.save(torch.jit.script(torch.nn.Linear(3, 4)), path)
    elif form == "old.pth":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    else:
        save(state, path)
    data, draw = path.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(4):
            broken[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(broken)
        try:
            read_file(path)
        except CheckpointError:
            refused += 1
    assert refused


@pytest.mark.parametrize("old_format", [False, True])
def test_a_pickle_with_code_is_not_run(tmp_path: Path, old_format: bool):
    path, touched = tmp_path / "model.pth", tmp_path / "touched"
    values = {"weight": torch.zeros(2), "more": Attack(touched)}
    torch.save(values, path, _use_new_zipfile_serialization=not old_format)
    with pytest.raises(CheckpointError, match=r"asks for \w+\.system, which could run code"):
        load(path, "dino")
    assert not touched.exists()


def test_a_torchscript_archive_with_code_is_not_run(tmp_path: Path):
    path, touched = tmp_path / "model.pt", tmp_path / "touched"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/constants.pkl", b"")
        archive.writestr("model/data.pkl", pickle.dumps(Attack(touched)))
    with pytest.raises(CheckpointError, match=r"asks for \w+\.system, which could run code"):
        load(path, "dino")
    assert not touched.exists()


class Strided(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("view", torch.arange(12.0).reshape(3, 4).T[1:])
        self.register_buffer("bf16", torch.arange(3.0).bfloat16())
        self.register_buffer("nothing", torch.zeros(0))
        self.inner = torch.nn.Linear(3, 2)
        self.sizes = [1, 2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_tensors_are_read_with_their_strides(tmp_path: Path):
    module = Strided()
    torch.jit.save(torch.jit.script(module), tmp_path / "strided.pt")
    state, expected = read_torchscript(tmp_path / "strided.pt"), module.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    (tmp_path / "strided.pt").write_bytes((tmp_path / "strided.pt").read_bytes()[:-400])
    with pytest.raises(CheckpointError, match=r"damaged or is no weights file"):
        load(tmp_path / "strided.pt", "openai_clip", "clip", ClipConfig())


def test_what_is_no_state_dict(tmp_path: Path):
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds a list, not a dictionary"):
        load(tmp_path / "list.pth", "dino")
    torch.save({"epoch": 3, "net": {"a": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"entries are epoch, net. Expected .* teacher"):
        load(tmp_path / "other.pth", "dino")


def test_where_nothing_is(tmp_path: Path, monkeypatch):
    with pytest.raises(CheckpointError, match=r"is missing\. Set `source`"):
        load(tmp_path / "none", "dino")
    with pytest.raises(CheckpointError, match="no weights file: looked for"):
        load(tmp_path, "dino")
    monkeypatch.delenv("FLAVA_DATA", raising=False)
    with pytest.raises(DataError, match="variable FLAVA_DATA, which is not set"):
        load("$FLAVA_DATA/dino.pth", "dino")


def test_a_source_may_use_the_data_folder(folder: Path, monkeypatch):
    monkeypatch.setenv("FLAVA_DATA", str(folder.parent))
    assert load("$FLAVA_DATA/model", "flava", "image").report["source"] == "$FLAVA_DATA/model"


def test_broken_json_beside_it(folder: Path):
    (folder / "config.json").write_text("[")
    with pytest.raises(CheckpointError, match=r"config\.json is not valid JSON"):
        load(folder, "flava", "image")
    (folder / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="holds no JSON object"):
        load(folder, "flava", "image")


@pytest.mark.parametrize(
    "values",
    [
        {"source": "hub:only-a-name"},
        {"sha256": "ABC"},
        {"layout": "resnet"},
        {"pixel_mean": [0.5, 0.5, 0.5]},
        {"pixel_mean": [0.5] * 3, "pixel_std": [0.0] * 3},
        {"pixel_mean": [0.5], "pixel_std": [0.5]},
    ],
)
def test_bad_settings_stop_early(values: dict):
    with pytest.raises(ValueError, match=next(iter(values)).split("_")[0]):
        WeightsConfig.model_validate({"source": "x", "layout": "dino"} | values)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch) -> Path:
    cache = tmp_path / "cache"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    return cache


def test_a_hub_name_without_network(empty_cache: Path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="the hub cannot be reached") as error:
        load("hub:facebook/flava-full@main", "flava", "flava")
    assert "hf download facebook/flava-full --local-dir <folder>" in str(error.value)


@pytest.fixture
def hub(folder: Path, monkeypatch):
    """A hub on the loopback interface that has the model of `folder` as small/flava."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            start = "/small/flava/resolve/main/"
            path = folder / self.path.removeprefix(start)
            if not self.path.startswith(start) or not path.is_file():
                self.send_response(404)
                known = self.path.startswith(start)
                self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
                self.send_header("X-Repo-Commit", "c" * 40)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = path.read_bytes()
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", "c" * 40)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    monkeypatch.setattr(
        huggingface_hub.constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    yield server
    server.shutdown()
    server.server_close()


def test_a_hub_name_is_downloaded_once(hub, empty_cache: Path):
    published = load("hub:small/flava", "flava", "image")
    assert published.report["file"] == "model.safetensors"
    assert published.report["revision"] == "c" * 40
    assert published.report["differences"] == []  # config.json came along
    hub.shutdown()
    hub.server_close()
    assert load("hub:small/flava@main", "flava", "image").report["loaded"]


def test_what_the_hub_does_not_have(hub, empty_cache: Path):
    with pytest.raises(CheckpointError, match=r"repository has no other\.pth"):
        load("hub:small/flava/other.pth", "flava", "image")
    with pytest.raises(CheckpointError, match="cannot be had from the hub"):
        load("hub:small/unknown", "flava", "image")
