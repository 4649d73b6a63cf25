"""What ties the sizes of a study's sections together."""

from __future__ import annotations

from collections.abc import Mapping

from flava.config import ColumnConfig, StudyConfig
from flava.errors import ConfigError


def check_sizes(config: StudyConfig, columns: Mapping[str, ColumnConfig], where: str) -> None:
    """Refuses sizes of different sections that do not fit each other.

    Args:
        config: the study.
        columns: all of columns.yaml.
        where: the study's file, for messages.

    Raises:
        ConfigError: names both keys and their values.
    """
    if config.codebook.codebook_size != config.flava.codebook_size:
        raise ConfigError(
            f"{where}: codebook.codebook_size {config.codebook.codebook_size} and "
            f"flava.codebook_size {config.flava.codebook_size} must be equal."
        )
    patches = config.flava.grid**2
    if config.masking.image_patches >= patches:
        raise ConfigError(
            f"{where}: masking.image_patches {config.masking.image_patches} must be less than the "
            f"{patches} patches of an image."
        )
    options = config.pretrain
    parts = options.accumulate if options.contrastive_batch == "micro" else 1
    rows = options.batch_size // parts
    if rows % config.contrastive_ranks:
        raise ConfigError(
            f"{where}: a batch of {rows} cannot be split into contrastive_ranks "
            f"{config.contrastive_ranks} equal parts."
        )
    longest = max(config.pretrain.text_batch_length, config.pretrain.pair_text_length)
    if longest > config.flava.max_text_length:
        raise ConfigError(
            f"{where}: texts of {longest} tokens do not fit flava.max_text_length "
            f"{config.flava.max_text_length}."
        )
    _check_selected_clips(config, columns, where)


def _check_selected_clips(
    config: StudyConfig, columns: Mapping[str, ColumnConfig], where: str
) -> None:
    """A CLIP is scored on the selection set, whose images are of FLAVA's size."""
    every, size = config.pretrain.select_updates, config.flava.image_size
    if not every or config.selection.zero_shot is None or config.clip.image_size == size:
        return
    stand_in = config.released_clip is not None and config.released_clip.pair_updates is not None
    trained = {"clip", "clip_released"} if stand_in else {"clip"}
    for column in config.columns:
        if columns[column].arch in trained:
            raise ConfigError(
                f"{where}: clip.image_size {config.clip.image_size} and flava.image_size {size} "
                f"must be equal: column '{column}' is selected every {every} updates "
                "(pretrain.select_updates) on images of flava.image_size. Change one of the sizes, "
                "or set pretrain.select_updates to null."
            )
