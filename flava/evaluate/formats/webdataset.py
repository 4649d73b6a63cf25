"""`webdataset`: the tars of CLIP_benchmark's web datasets, labelled (.cls) or captioned (.txt)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from flava.config import TaskData
from flava.data.lines import whole_number
from flava.errors import DataError
from flava.evaluate.archives import Members, open_members
from flava.evaluate.formats import text_files
from flava.evaluate.formats.captions import caption_task
from flava.evaluate.formats.official import Listed, members_split
from flava.evaluate.formats.prompts import check_templates, read_prompts
from flava.evaluate.images import EncodedImages, checked_read
from flava.evaluate.taskdata import (
    LabelledTask,
    RetrievalTask,
    Split,
    ZeroShotTask,
    check_labels,
    require,
)

HOW_TO_GET = (
    "Get the set from huggingface.co/clip-benchmark (wds_…): for each split a folder with "
    "nshards.txt and 0.tar, 1.tar …; classnames.txt and, for zero-shot, "
    "zeroshot_classification_templates.txt, if it has classes."
)
PICTURES = (".jpg", ".jpeg", ".png", ".webp")
VALIDATION = ("val", "valid", "validation")
TEMPLATES, PLACE = "zeroshot_classification_templates.txt", "{c}"


class Shards:
    """Pictures in the numbered tars of a split, by `<n>.tar/<member>`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        counts = text_files.lines(path / "nshards.txt", HOW_TO_GET)
        count = "\n".join(line for _, line in counts).strip()
        shards = whole_number(count)
        if not shards:
            raise DataError(f"{path / 'nshards.txt'}: expected the number of tars, got '{count}'.")
        self.shards: dict[str, Members] = {}
        for number in range(shards):
            name = f"{number}.tar"
            if not (path / name).is_file():
                raise DataError(f"{path / name} is missing; nshards.txt says {count}. {HOW_TO_GET}")
            self.shards[name] = open_members(path / name)
        if more := sorted({file.name for file in path.glob("*.tar")} - self.shards.keys()):
            raise DataError(
                f"{path}: nshards.txt says {count}, but {more[0]} is there. {HOW_TO_GET}"
            )

    def read(self, name: str) -> bytes:
        """Bytes of a picture.

        Raises:
            DataError: it cannot be read or is implausibly large.
        """
        shard, _, member = name.partition("/")
        return checked_read(self.shards[shard], member, self.path / shard)

    def samples(self, suffix: str) -> Iterator[tuple[str, str, str]]:
        """(name of a picture, where its text stands, that text: the member `<key><suffix>`).

        Raises:
            DataError: one of both is missing, or the text is not UTF-8.
        """
        for shard, members in self.shards.items():
            where = self.path / shard
            for files in _by_key(members, suffix, where):
                place = f"{where}: '{files[suffix]}'"
                try:
                    text = checked_read(members, files[suffix], where).decode()
                except UnicodeDecodeError as error:
                    raise DataError(f"{place} is not UTF-8 text ({error}).") from None
                yield f"{shard}/{files['picture']}", place, text


def load(path: Path, data: TaskData) -> LabelledTask:
    """train/, test/ and, where there is one, val/, each of tars with <key>.<picture> and <key>.cls.

    Raises:
        DataError: a file is missing, a picture has no label or a label no picture, or a label is
            out of range or never occurs in training.
    """
    classes = _classes(path)
    validation = next((name for name in VALIDATION if (path / name).is_dir()), None)
    train, test = _split(path / "train", classes), _split(path / "test", classes)
    held = _split(path / validation, classes) if validation else None
    for split in (test, held) if held else (test,):
        unseen = sorted(set(split.labels().tolist()) - set(train.labels().tolist()))
        name = classes[unseen[0]] if unseen else ""
        require(not unseen, f"{path}: class '{name}' is scored but never occurs in training.")
    return LabelledTask(train=train, validation=held, tests={"test": test}, classes=classes)


def load_zero_shot(path: Path, data: TaskData) -> ZeroShotTask:
    """test/, with the names and templates of the task's `prompts` or else those of the set.

    Raises:
        DataError: as `load`, `prompts` has another number of names than the set, or a template of
            the set has not exactly one {c}.
    """
    classes = _classes(path)
    names, templates = read_prompts(data) if data.prompts else (classes, _templates(path))
    require(
        len(names) == len(classes),
        f"{data.prompts}: {len(names)} class names, but {path / 'classnames.txt'} has "
        f"{len(classes)}. Leave out the task's 'prompts' to take the set's own.",
    )
    return ZeroShotTask(_split(path / "test", classes), names, templates)


def load_retrieval(path: Path, data: TaskData) -> RetrievalTask:
    """test/, or the folder `data.split`, of tars with <key>.<picture> and <key>.txt, a caption a
    line; the first five count, as in Karpathy's files.

    Raises:
        DataError: a file is missing, a picture has no caption, or the set has labels instead.
    """
    source = Shards(path / (data.split or "test"))
    captions: dict[str, list[str]] = {}
    places: dict[str, str] = {}
    for name, place, text in source.samples(".txt"):
        places[name] = place
        # CLIP_benchmark writes a line break within a caption as the two characters \n.
        captions[name] = [line.replace("\\n", "\n") for line in text.split("\n")]
    require(bool(captions), f"{source.path} holds no picture. {HOW_TO_GET}")
    return caption_task(captions, places, EncodedImages(source, list(captions)))


def _classes(path: Path) -> list[str]:
    return [line for _, line in _lines(path / "classnames.txt")]


def _templates(path: Path) -> list[str]:
    """The set's own, with {} in place of its {c}."""
    file = path / TEMPLATES
    found = []
    for number, line in _lines(file):
        require(
            line.count(PLACE) == 1,
            f"{file}, line {number}: template '{line}' must have exactly one {PLACE}.",
        )
        found.append(line.replace(PLACE, "{}"))
    check_templates(found, str(file))
    return found


def _lines(file: Path) -> list[tuple[int, str]]:
    lines = [(n, line.strip()) for n, line in text_files.lines(file, HOW_TO_GET) if line.strip()]
    require(bool(lines), f"{file} is empty. {HOW_TO_GET}")
    return lines


def _split(path: Path, classes: Sequence[str]) -> Split:
    source = Shards(path)
    listed: list[Listed] = []
    for name, place, text in source.samples(".cls"):
        label = whole_number(text.strip())
        if label is None:
            raise DataError(f"{place} is no class number.")
        listed.append((place, name, label))
    split = members_split(source, listed)
    check_labels(split.labels(), len(classes), str(path))
    return split


def _by_key(members: Members, suffix: str, where: Path) -> Iterator[dict[str, str]]:
    """Members of each key of a tar, in order of the names: its "picture" and its `suffix`."""
    found: dict[str, dict[str, str]] = {}
    for name in members.names:
        end = PurePosixPath(name).suffix.lower()
        kind = "picture" if end in PICTURES else end
        key = name[: len(name) - len(end)]
        files = found.setdefault(key, {})
        require(kind not in files, f"{where}: '{key}' has two of a {kind}. Get the tar anew.")
        files[kind] = name
    for key, files in found.items():
        whole = "picture" in files and suffix in files
        require(whole, f"{where}: '{key}' lacks its picture or its {suffix}. Get the tar anew.")
        yield files
