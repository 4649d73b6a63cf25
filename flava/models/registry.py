"""Models by the name of their architecture."""

from __future__ import annotations

from flava.config import ClipConfig, FlavaConfig
from flava.errors import ConfigError, unknown_name
from flava.models.clip import Clip
from flava.models.flava import Flava


def build(arch: str, config: FlavaConfig | ClipConfig) -> Flava | Clip:
    """A freshly initialised model; draws from torch's default generator (seed it first).

    Raises:
        ConfigError: unknown architecture, or a configuration of another one.
    """
    if arch in ("clip_released", "flava_released"):
        raise ConfigError(
            f"Architecture '{arch}' is never trained here: its weights are published. "
            "Load them with flava.models.load_model."
        )
    if arch == "flava" and isinstance(config, FlavaConfig):
        return Flava(config)
    if arch == "clip" and isinstance(config, ClipConfig):
        return Clip(config)
    if arch in ("flava", "clip"):
        raise ConfigError(
            f"Architecture '{arch}' was given a {type(config).__name__}. "
            f"Set the run's '{arch}' section."
        )
    raise ConfigError(unknown_name("architecture", arch, ["flava", "clip"], "build"))
