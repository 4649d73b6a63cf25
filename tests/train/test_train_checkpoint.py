"""Checkpoints: kept, cleaned, recovered from, refused."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from flava.errors import CheckpointError
from flava.io import read_json, write_json
from flava.train.aside import settle
from flava.train.checkpoint import Checkpoints


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "run", "c" * 64, "d" * 64, "e" * 64, keep=2)


def state(value: float) -> dict[str, object]:
    return {"model": {"w": torch.full((1000,), value)}, "log": {"rows": [{"loss": value}]}}


def names(checkpoints: Checkpoints) -> list[str]:
    return sorted(path.name for path in checkpoints.folder.glob("*update-*"))


def test_newest_is_loaded_and_only_the_newest_are_kept(checkpoints: Checkpoints) -> None:
    assert checkpoints.load_newest() is None
    for update in (10, 20, 30):
        checkpoints.save(update, state(float(update)))
    update, loaded, *_ = checkpoints.load_newest() or (0, {})
    assert update == 30
    assert torch.equal(loaded["model"]["w"], torch.full((1000,), 30.0))
    assert loaded["log"] == {"rows": [{"loss": 30.0}]}
    assert names(checkpoints) == [
        f"update-{n:09d}.{end}" for n in (20, 30) for end in ("json", "pt")
    ]


def test_half_written_files_are_ignored_and_cleaned(checkpoints: Checkpoints) -> None:
    checkpoints.save(10, state(1.0))
    (checkpoints.folder / "update-000000020.pt").write_bytes(b"no mark yet")
    (checkpoints.folder / ".update-000000020.pt.99.tmp").write_bytes(b"half")
    assert (checkpoints.load_newest() or (0,))[0] == 10
    checkpoints.clean()
    assert names(checkpoints) == ["update-000000010.json", "update-000000010.pt"]


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("end", "damage"),
    [("pt", truncate), ("pt", flip_a_bit), ("pt", Path.unlink), ("json", truncate)],
)
def test_damaged_newest_falls_back_to_the_older_and_says_so(
    checkpoints: Checkpoints, capsys: pytest.CaptureFixture[str], end: str, damage: object
) -> None:
    for update in (10, 20):
        checkpoints.save(update, state(float(update)))
    damage(checkpoints.folder / f"update-000000020.{end}")  # type: ignore[operator]
    update, loaded, *_ = checkpoints.load_newest() or (0, {})
    assert update == 10 and loaded["model"]["w"][0] == 10
    assert f"update-000000020.{end}" in capsys.readouterr().err


def test_all_damaged_is_an_error(checkpoints: Checkpoints) -> None:
    checkpoints.save(10, state(1.0))
    truncate(checkpoints.folder / "update-000000010.pt")
    with pytest.raises(CheckpointError, match=r"None of the 1 checkpoints in .*run"):
        checkpoints.load_newest()


@pytest.mark.parametrize(
    ("field", "word"), [("config_sha256", "another configuration"), ("data_sha256", "other data")]
)
def test_checkpoint_of_another_run_is_refused(
    checkpoints: Checkpoints, field: str, word: str
) -> None:
    checkpoints.save(10, state(1.0))
    other = dataclasses.replace(checkpoints, **{field: "e" * 64})
    with pytest.raises(CheckpointError, match=rf"update-000000010.json .* of {word} .*Delete"):
        other.load_newest()


def test_a_pickle_with_code_is_not_run(checkpoints: Checkpoints, tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> object:
            return (Path.touch, (ran,))

    checkpoints.save(10, {"model": Evil()})
    with pytest.raises(CheckpointError, match="None of the 1 checkpoints"):
        checkpoints.load_newest()
    assert not ran.exists()


def test_second_process_is_locked_out(checkpoints: Checkpoints) -> None:
    refused = pytest.raises(CheckpointError, match="Another process is training this run")
    with checkpoints.locked(writer=True):
        with refused, checkpoints.locked(writer=True):
            pass
        with checkpoints.locked(writer=False):  # other ranks of the same run
            pass
    with checkpoints.locked(writer=True):
        pass


def other(checkpoints: Checkpoints, what: str) -> Checkpoints:
    return dataclasses.replace(checkpoints, **{f"{what}_sha256": "f" * 64})


def finish(checkpoints: Checkpoints, value: float) -> None:
    for update in (20, 30):
        checkpoints.save(update, state(value))
    (checkpoints.folder / "best-000000020.pt").write_text(str(value))


def value_of(checkpoints: Checkpoints) -> float:
    found = checkpoints.load_newest()
    assert found is not None and found.update == 30
    assert (checkpoints.folder / "best-000000020.pt").read_text() == str(
        float(found.state["model"]["w"][0])
    )
    return float(found.state["model"]["w"][0])


@pytest.mark.parametrize("what", ["code", "data"])
def test_finished_checkpoints_of_another_state_are_set_aside_and_taken_back(
    checkpoints: Checkpoints, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    finish(checkpoints, 1.0)
    settle(checkpoints, total=30)
    assert value_of(checkpoints) == 1.0 and capsys.readouterr().err == ""
    edited = other(checkpoints, what)
    settle(edited, total=30)
    assert not edited.present() and not (edited.folder / "best-000000020.pt").exists()
    assert f"are of other {what}: they are kept in aside-" in capsys.readouterr().err
    settle(edited, total=30)
    assert not edited.present(), "nothing to take back"
    finish(edited, 2.0)
    settle(checkpoints, total=30)
    assert value_of(checkpoints) == 1.0
    edited.save(
        10, state(3.0)
    )  # what the edited code had begun anew: it yields to its finished run
    settle(edited, total=30)
    assert value_of(edited) == 2.0
    settle(checkpoints, total=30)
    assert value_of(checkpoints) == 1.0


def test_unfinished_checkpoints_stay_where_code_or_data_changed(checkpoints: Checkpoints) -> None:
    checkpoints.save(10, state(1.0))
    edited = other(checkpoints, "code")
    settle(edited, total=30)
    assert (edited.load_newest() or (0,))[0] == 10
    settle(other(checkpoints, "data"), total=30)
    with pytest.raises(CheckpointError, match="other data"):
        other(checkpoints, "data").load_newest()


def test_finished_checkpoints_of_another_configuration_are_refused(
    checkpoints: Checkpoints,
) -> None:
    finish(checkpoints, 1.0)
    moved = other(other(checkpoints, "config"), "code")
    settle(moved, total=30)
    with pytest.raises(CheckpointError, match="another configuration"):
        moved.load_newest()


@pytest.mark.parametrize("moves", range(7))
@pytest.mark.parametrize("back", [False, True])
def test_setting_aside_goes_on_after_a_kill(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch, moves: int, back: bool
) -> None:
    """Five files are moved, one by one; killed after any of them, the next call ends the same."""
    finish(checkpoints, 1.0)
    edited = other(checkpoints, "code")
    if back:
        settle(edited, total=30)
    left, replace = iter(range(moves)), Path.replace

    def stopped(path: Path, target: Path) -> Path:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as killed, suppress(KeyboardInterrupt):
        killed.setattr(Path, "replace", stopped)
        settle(checkpoints if back else edited, total=30)
    settle(checkpoints if back else edited, total=30)
    assert back or not edited.present()
    settle(checkpoints, total=30)
    assert value_of(checkpoints) == 1.0
    assert not list(checkpoints.folder.glob("aside-*"))
    assert len(names(checkpoints)) == 4, "the older checkpoint is back too"


def test_a_mark_of_another_format_is_refused_and_says_so(
    checkpoints: Checkpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(checkpoints, 1.0)
    for path in checkpoints.folder.glob("update-*.json"):
        mark = read_json(path)
        assert isinstance(mark, dict)
        write_json(path, mark | {"format": 2})
    settle(checkpoints, total=30)
    with pytest.raises(CheckpointError, match=r"None of the \d checkpoints in .* can be read"):
        checkpoints.load_newest()
    told = capsys.readouterr().err
    assert "update-000000030.json: key 'format': Input should be 3 (given: 2)." in told
