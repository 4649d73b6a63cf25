"""Hashes of images' content, each computed once in a process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

from flava.evaluate.features import device
from flava.evaluate.taskdata import IntArray
from flava.io import sha256_parts
from flava.prefetch import prefetched, reading_threads


class Hashed(ABC):
    """Images whose content is hashed once for the same positions.

    A job asks twice: for the record of its data, and for the key of the features. From a file
    server a large set's files take hours to read.

    Attributes:
        block: pictures that are read at once; where a block ends counts in the hash.
    """

    block = 1

    @abstractmethod
    def content(self, indices: IntArray) -> bytes:
        """What is hashed of the images at `indices`, at most a block."""

    @cached_property
    def _digests(self) -> dict[bytes, str]:
        return {}

    def digest(self, indices: IntArray) -> str:
        """SHA-256 of the images at `indices`, in that order; read in threads beside a GPU.

        Raises:
            DataError: an image cannot be read.
        """
        asked = indices.tobytes()
        if asked not in self._digests:
            starts = range(0, len(indices), self.block)
            blocks = (indices[start : start + self.block] for start in starts)
            read = prefetched(self.content, blocks, reading_threads(device()))
            self._digests[asked] = sha256_parts(content for _, content in read)
        return self._digests[asked]
