"""The state of a run as a checkpoint holds it, whole or sharded, and back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import AdamW

from flava.records import Earlier
from flava.train.best import Best
from flava.train.checkpoint import Checkpoints, Found
from flava.train.distributed import Ranks
from flava.train.log import TrainingLog
from flava.train.precision import LossScale
from flava.train.recipe import Recipe
from flava.train.sharding import like, load_state

Tree = dict[str, Any]
TENSORS = ("modules", "optimizer")  # parts of the state that may be sharded


class RunState:
    """What a run is at one moment: model, optimiser, log, best weights, loss scale, and who did it.

    Optimiser state is kept by the names of the parameters, so that it fits any number of ranks,
    sharded or not.
    """

    def __init__(
        self, recipe: Recipe, optimizer: AdamW, log: TrainingLog, best: Best, scale: LossScale
    ) -> None:
        self.recipe, self.optimizer = recipe, optimizer
        self.log, self.best, self.scale = log, best, scale
        self.earlier = Earlier()

    def save(self, checkpoints: Checkpoints, update: int, ranks: Ranks) -> None:
        """Writes a checkpoint; every rank calls it."""
        state = self._tree(ranks)
        sharded = {
            key: tensors.pop(name)
            for key, tensors, name in _leaves(state)
            if isinstance(tensors[name], DTensor)
        }
        checkpoints.save(update, state, sharded, ranks.first)

    def restore(self, checkpoints: Checkpoints, ranks: Ranks) -> int:
        """Takes over the newest whole checkpoint, if any; returns the number of updates done.

        Raises:
            CheckpointError: it is of another run, or none is readable.
            TrainingError: the ranks do not see the same files.
        """
        found = checkpoints.load_newest(warn=ranks.first)
        if found is None:
            return 0
        state = found.state
        if found.shards is not None:
            self._read_shards(state, found.shards)
        for name, module in self.recipe.modules().items():
            load_state(module, state["modules"][name])
        self._load_optimizer(state["optimizer"])
        self.recipe.load_state(state["recipe"])
        self.log.load_state(state["log"])
        self.best.load_state(state["best"])
        self.scale.load_state(state["loss_scale"])
        self.earlier.add(self.log.seconds, state["account"])
        if ranks.first:
            print(_message(found, checkpoints, state["ranks"], ranks), file=sys.stderr)
        return found.update

    def _tree(self, ranks: Ranks) -> Tree:
        """Everything that `restore` needs: tensors and plain data only."""
        states = self.optimizer.state
        return {
            "modules": {name: m.state_dict() for name, m in self.recipe.modules().items()},
            "optimizer": {
                name: dict(states[parameter])
                for name, parameter in self.recipe.model.named_parameters()
                if parameter in states
            },
            "recipe": self.recipe.state(),
            "log": self.log.state(),
            "best": self.best.state(),
            "loss_scale": self.scale.state(),
            "account": self.earlier.account(),
            "ranks": ranks.world_size,
        }

    def _load_optimizer(self, states: Tree) -> None:
        parameters = dict(self.recipe.model.named_parameters())
        for name, state in states.items():
            parameter = parameters[name]
            self.optimizer.state[parameter] = {
                key: like(value, parameter) if value.shape == parameter.shape else value
                for key, value in ((k, v.to(parameter.device)) for k, v in state.items())
            }

    def _read_shards(self, state: Tree, shards: Any) -> None:
        """Reads sharded tensors into `state`, in the form that this process needs them in."""
        places = {
            f"modules/{name}/{key}": (state["modules"][name], key, target)
            for name, module in self.recipe.modules().items()
            for key, target in module.state_dict().items()
        }
        for name, target in self.recipe.model.named_parameters():
            tensors = state["optimizer"].setdefault(name, {})
            for key in ("exp_avg", "exp_avg_sq"):
                places[f"optimizer/{name}/{key}"] = (tensors, key, target)
        targets = {key: target for key, (_, _, target) in places.items()}
        for key, tensor in shards.read(targets).items():
            tensors, name, _ = places[key]
            tensors[name] = tensor
        state["optimizer"] = {name: each for name, each in state["optimizer"].items() if each}


def _leaves(state: Tree) -> Iterator[tuple[str, dict[str, Tensor], str]]:
    """(key, dict, its name there) of all tensors that may be sharded."""
    for part in TENSORS:
        for owner, tensors in state[part].items():
            for name in list(tensors):
                yield f"{part}/{owner}/{name}", tensors, name


def _message(found: Found, checkpoints: Checkpoints, earlier: int, ranks: Ranks) -> str:
    text = f"continuing after update {found.update} from {checkpoints.folder}"
    if found.code_sha256 != checkpoints.code_sha256:
        text += ", which other code has trained until here (the record will name its commit)"
    if earlier != ranks.world_size:
        noun = "rank" if ranks.world_size == 1 else "ranks"
        text += (
            f", on {ranks.world_size} {noun} instead of {earlier}: the global batch is the same, "
            "sums are rounded otherwise"
        )
    return text
