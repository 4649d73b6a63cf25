"""Adapters of sources by kind: what the `adapter` of an entry of a study's `data` may be.

Functions are named, not imported, so that a study is checked quickly (`pkgutil.resolve_name`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flava.config import SourceConfig, StudyConfig
from flava.errors import ConfigError, unknown_name


@dataclass(frozen=True)
class PairsAdapter:
    """Where the images lie, and the captions in order; both name a function of a `SourceConfig`.

    Attributes:
        images: opens the images: an `Archive` or `Img2Dataset`.
        captions: reads the annotations: `Captioned` items.
        partial: images may be missing (dead links): they are counted and left out.
        exact: an image is looked for under its whole name only, without listing the folder.
    """

    images: str
    captions: str
    partial: bool = False
    exact: bool = False


BESIDE = "flava.data.source_pairs:images_beside"
FOLDER_OF = "flava.data.source_coco:image_folder_of"
LINKED = "flava.data.source_links:linked_images"
DOWNLOADED = "flava.data.source_links:downloaded_images"

PAIRS = {
    "karpathy": PairsAdapter(BESIDE, "flava.data.source_pairs:karpathy"),
    "flickr8k_tokens": PairsAdapter(BESIDE, "flava.data.source_pairs:flickr8k_tokens"),
    "captions_jsonl": PairsAdapter(BESIDE, "flava.data.source_pairs:captions_jsonl"),
    "emoji_annotations": PairsAdapter(BESIDE, "flava.data.source_pairs:emoji_annotations"),
    "coco_captions": PairsAdapter(FOLDER_OF, "flava.data.source_coco:coco_captions", True),
    "visual_genome": PairsAdapter(FOLDER_OF, "flava.data.source_coco:visual_genome", True),
    "localized_narratives": PairsAdapter(
        FOLDER_OF, "flava.data.source_coco:localized_narratives", True
    ),
    "localized_narratives_sentences": PairsAdapter(
        FOLDER_OF, "flava.data.source_coco:localized_narratives_sentences", True
    ),
    "sbu": PairsAdapter(LINKED, "flava.data.source_links:sbu", True),
    "cc3m_tsv": PairsAdapter(LINKED, "flava.data.source_links:cc3m_tsv", True),
    "cc12m_tsv": PairsAdapter(LINKED, "flava.data.source_links:cc12m_tsv", True),
    "wit_tsv": PairsAdapter(LINKED, "flava.data.source_links:wit_tsv", True),
    "redcaps": PairsAdapter(DOWNLOADED, "flava.data.source_links:redcaps", True, exact=True),
    "yfcc100m": PairsAdapter(DOWNLOADED, "flava.data.source_yfcc:yfcc100m", True, exact=True),
    "img2dataset": PairsAdapter(
        "flava.data.source_links:img2dataset_images", "flava.data.source_links:img2dataset", True
    ),
}
IMAGES = {
    "image_folder": "flava.data.source_images:image_folder",
    "imagenet": "flava.data.source_imagenet:imagenet",
}
TEXTS = {
    "text_lines": "flava.data.source_texts:text_lines",
    "wikitext": "flava.data.source_texts:wikitext",
    "ag_news_csv": "flava.data.source_texts:ag_news_csv",
    "gutenberg": "flava.data.source_texts:gutenberg",
    "text_files": "flava.data.source_articles:text_files",
    "news_articles": "flava.data.source_articles:news_articles",
    "bookcorpus": "flava.data.source_articles:bookcorpus",
}
KINDS: dict[str, Mapping[str, object]] = {"pairs": PAIRS, "images": IMAGES, "texts": TEXTS}


def check_source(kind: str, source: SourceConfig, where: str = "") -> None:
    """Raises ConfigError, begun by `where`, if no adapter of `kind` has the source's name for it.

    Args:
        kind: pairs, images or texts.
        source: an entry of a study's `data`.
        where: the study's file and a colon.
    """
    if source.adapter not in KINDS[kind]:
        place = f"{where}source '{source.name}' of {kind}"
        raise ConfigError(unknown_name("adapter", source.adapter, list(KINDS[kind]), place))


def check_sources(study: StudyConfig, where: str) -> None:
    """Raises ConfigError, with `where` the study stands, if a source's adapter is unknown."""
    large = study.released_clip.pairs if study.released_clip else []
    corpora = {"pairs": [*study.data.pairs, *large], "images": study.data.images}
    for kind, sources in (corpora | {"texts": study.data.texts}).items():
        for source in sources:
            check_source(kind, source, f"{where}: ")
