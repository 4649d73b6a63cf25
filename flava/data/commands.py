"""The command line of steps that take nothing else: `--config <resolved.json>`."""

from __future__ import annotations

import argparse
from pathlib import Path


def config_argument(description: str | None) -> Path:
    """Parses `--config`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, required=True, help="resolved configuration")
    path: Path = parser.parse_args().config
    return path
