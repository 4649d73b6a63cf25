"""The filter of Section 3.5."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flava.config import CaptionFilterConfig
from flava.data.caption_filter import ENGLISH, OTHER, reads_english, why_dropped, words

KEPT = [
    "Sunset over San Francisco",
    "Café in Paris at night",
    "My trip to El Paso",
    "The old church, Münster",
    "Golden Gate Bridge",
    "On the road to Las Vegas with Manuel & José",
]
DROPPED = [
    "La playa de Barcelona en verano",
    "Schöne alte Kirche in Berlin",
    "Le chat est sur la table",
    "De kat op de mat",
    "Uma praia no Brasil",
    "Utsikt från berget",
    "Голден Гейт мост",
    "金門大橋 夕陽 舊金山",
    "12 34 56",
]


@pytest.mark.parametrize("caption", KEPT)
def test_english_is_kept(caption: str) -> None:
    assert why_dropped(caption, CaptionFilterConfig()) is None


@pytest.mark.parametrize("caption", DROPPED)
def test_other_languages_are_dropped(caption: str) -> None:
    assert why_dropped(caption, CaptionFilterConfig()) == "not English"


@pytest.mark.parametrize("caption", ["", "two words", "two - words !", "IMG_0520"])
def test_more_than_two_words(caption: str) -> None:
    assert why_dropped(caption, CaptionFilterConfig()) == "too few words"
    assert words("more than two") == 3


def test_method_is_a_parameter() -> None:
    ascii_only = CaptionFilterConfig(english="ascii")
    assert why_dropped("La playa de Barcelona", ascii_only) is None
    assert why_dropped("Голден Гейт мост", ascii_only) == "not English"
    everything = CaptionFilterConfig(english="any", min_words=1)
    assert why_dropped("Голден", everything) is None


def test_lists_do_not_overlap() -> None:
    assert not set(ENGLISH.split()) & set(OTHER.split())


def test_real_captions_are_english(real_data: Path) -> None:
    """docs/pmd.md: all captions of Flickr8k pass."""
    images = json.loads((real_data / "flickr8k" / "dataset_flickr8k.json").read_text())["images"]
    captions = [sentence["raw"] for image in images for sentence in image["sentences"]]
    assert len(captions) == 29_500
    assert all(map(reads_english, captions))
