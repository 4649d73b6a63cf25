"""UCF101's middle frames, decoded from videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flava.errors import ConfigError, DataError
from flava.evaluate.datasets import load_task
from tests.evaluate.fakes import data_config, task_config, write


def load(path: Path):
    return load_task("ucf101", task_config("linear_probe"), data_config("ucf101", path))


def video(path: Path, frames: int) -> None:
    """An MJPEG video whose frame i has brightness 10 * i."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj420p"
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 10 * i, np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture
def videos(tmp_path) -> Path:
    pytest.importorskip("av")
    write(tmp_path / "ucfTrainTestlist/classInd.txt", "1 Juggling\n2 Typing\n")
    write(tmp_path / "ucfTrainTestlist/trainlist01.txt", "Juggling/v_a.avi 1\nTyping/v_b.avi 2\n")
    write(tmp_path / "ucfTrainTestlist/testlist01.txt", "Typing/v_c.avi\n")
    for name, frames in (("Juggling/v_a", 5), ("Typing/v_b", 8), ("Typing/v_c", 1)):
        video(tmp_path / "UCF-101" / f"{name}.avi", frames)
    return tmp_path


def test_the_middle_frame_of_a_video(videos):
    task = load(videos)
    assert task.classes == ["Juggling", "Typing"]
    assert task.train.targets.tolist() == [0, 1] and task.tests["test"].targets.tolist() == [1]
    means = task.train.images.pixels(np.arange(2), 16).mean(axis=(1, 2, 3))
    assert means == pytest.approx([20, 40], abs=3)
    assert task.tests["test"].images.pixels(np.arange(1), 16).mean() == pytest.approx(0, abs=3)


def test_bad_videos(videos, monkeypatch):
    (videos / "UCF-101/Juggling/v_a.avi").write_bytes(b"no video")
    images = load(videos).train.images
    with pytest.raises(DataError, match=r"v_a.avi is not a readable video"):
        images.pixels(np.array([0]), 16)
    (videos / "UCF-101/Typing/v_c.avi").unlink()
    with pytest.raises(DataError, match=r"testlist01.txt, line 1: .*v_c.avi is missing"):
        load(videos)
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(ConfigError, match=r"PyAV is not installed. Run pip install"):
        load(videos)
