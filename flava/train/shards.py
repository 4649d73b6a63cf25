"""Sharded tensors in files: each rank writes its own shard, any number of ranks reads them.

`torch.distributed.checkpoint` with safetensors as its format: nothing that is read is a pickle.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from flava.io import sha256_file
from flava.train.distributed import gather_objects


@dataclass(frozen=True)
class Shards:
    """The shards of one checkpoint."""

    folder: Path

    def write(self, tensors: Mapping[str, Tensor]) -> dict[str, str]:
        """Writes this rank's shard into the folder, which must be empty; all ranks call it.

        Returns:
            Name and SHA-256 of every rank's file.
        """
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
        from torch.distributed.checkpoint.state_dict_saver import save

        rank = dist.get_rank()
        writer = HuggingFaceStorageWriter(str(self.folder), save_distributed=True)
        save(dict(tensors), storage_writer=writer)
        own = sorted(self.folder.glob(f"shard-{rank + 1:05d}-*.safetensors"))
        hashes = gather_objects({path.name: sha256_file(path) for path in own})
        return {name: sha256 for each in hashes for name, sha256 in sorted(each.items())}

    def read(self, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of the files by name, each in the form of its target; all ranks call it.

        Args:
            targets: whole or sharded tensors; those that the files lack are left out.
        """
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
        from torch.distributed.checkpoint.state_dict_loader import load

        reader = HuggingFaceStorageReader(str(self.folder))
        stored = reader.read_metadata().state_dict_metadata
        found = {
            name: torch.empty_like(target.detach())
            for name, target in targets.items()
            if name in stored
        }
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # one rank: meant so
            load(found, storage_reader=reader, no_dist=not dist.is_initialized())
        return found
