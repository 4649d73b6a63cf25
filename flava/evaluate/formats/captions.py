"""`karpathy` and `flickr8k_tokens`: images with their captions, for zero-shot retrieval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from flava.config import TaskData
from flava.data.lines import list_field, read_json
from flava.data.source_pairs import flickr8k_captions, karpathy_file
from flava.evaluate.formats.examples import found_at
from flava.evaluate.formats.text_files import field_of, lines
from flava.evaluate.images import EncodedImages, ImageSource, image_source
from flava.evaluate.taskdata import Images, RetrievalTask, require

KARPATHY_URL = "Get Karpathy's caption files from cs.stanford.edu/people/karpathy/deepimagesent."
FLICKR_TEXT = "Get Flickr8k_text.zip (Flickr8k.token.txt and the split lists) of Hodosh et al."
CAPTIONS_PER_IMAGE = 5


def load_karpathy(path: Path, data: TaskData) -> RetrievalTask:
    """Images of a `dataset_*.json`: {"images": [{filename, split, sentences: [{raw}]}]}.

    The split is `data.split`, or test. `path` is the file or a folder with one such file; images
    lie in `data.images` or beside it.

    Raises:
        DataError: the file or an image is missing, or an entry lacks a key or occurs twice.
    """
    file, split = karpathy_file(path), data.split or "test"
    entries = list_field(read_json(file, KARPATHY_URL), "images", file)
    captions: dict[str, list[str]] = {}
    places: dict[str, str] = {}
    for number, entry in enumerate(entries):
        where = f"{file}, images[{number}]"
        if field_of(entry, "split", where) != split:
            continue
        sentences = list_field(entry, "sentences", where)
        name = field_of(entry, "filename", where)
        require(name not in captions, f"{where}: image '{name}' occurs twice. Get the file anew.")
        captions[name] = [str(field_of(sentence, "raw", where)) for sentence in sentences]
        places[name] = where
    require(bool(captions), f"{file} has no image with split '{split}'.")
    return _found(captions, places, image_source(file.parent, data))


def load_flickr8k(path: Path, data: TaskData) -> RetrievalTask:
    """Test images of Flickr8k's official text files (also Flickr30k's token file layout).

    Raises:
        DataError: a file or an image is missing, a line is malformed, an image has no caption.
    """
    listed = path / "Flickr_8k.testImages.txt"
    numbered = [(number, line.strip()) for number, line in lines(listed, FLICKR_TEXT)]
    places = {name: f"{listed}, line {number}" for number, name in numbered if name}
    require(bool(places), f"{listed} lists no image.")
    captions_of = flickr8k_captions(path / "Flickr8k.token.txt", FLICKR_TEXT)
    captions = {name: captions_of.get(name, []) for name in places}
    return _found(captions, places, image_source(path, data))


def _found(
    captions: dict[str, list[str]], places: dict[str, str], source: ImageSource
) -> RetrievalTask:
    names = [found_at(source, name, places[name]) for name in captions]
    return caption_task(captions, places, EncodedImages(source, names))


def caption_task(
    captions: Mapping[str, list[str]], places: Mapping[str, str], images: Images
) -> RetrievalTask:
    """Keeps the first five non-empty captions of an image: COCO has a few with more.

    Args:
        captions: by the image's name, in the order of `images`.
        places: where each image is listed, for errors.

    Raises:
        DataError: an image has no caption.
    """
    texts: list[str] = []
    image_of: list[int] = []
    for position, (name, listed) in enumerate(captions.items()):
        kept = [text for text in listed if text.strip()][:CAPTIONS_PER_IMAGE]
        require(bool(kept), f"{places[name]}: image '{name}' has no caption.")
        texts += kept
        image_of += [position] * len(kept)
    return RetrievalTask(images, texts, np.asarray(image_of, np.int64))
