"""The middle frame of a video as a picture; needs PyAV (the extra `video`)."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from flava.errors import ConfigError, DataError


class Videos:
    """Video files below a folder, each read as the PNG of its middle frame.

    Args:
        path: the folder.
        how_to_get: what to do where it is missing.

    Raises:
        DataError: the folder is missing.
        ConfigError: PyAV is not installed.
    """

    def __init__(self, path: Path, how_to_get: str) -> None:
        if not path.is_dir():
            raise DataError(f"{path} is missing. {how_to_get}")
        try:
            import av  # noqa: F401
        except ImportError:
            raise ConfigError(
                f"{path} holds videos, and PyAV is not installed. Run "
                "pip install --editable '.[video]', or put a folder of middle frames beside it."
            ) from None
        self.path = path

    def read(self, name: str) -> bytes:
        """The middle frame of a video: frame n // 2 of n, as PNG.

        Raises:
            DataError: the file is no video, has no frame, or ends before its middle.
        """
        import av

        try:
            with av.open(str(self.path / name)) as container:
                stream = container.streams.video[0]
                count = stream.frames or sum(1 for _ in container.decode(stream))
            with av.open(str(self.path / name)) as container:
                for i, frame in enumerate(container.decode(video=0)):
                    if i == count // 2:
                        file = io.BytesIO()
                        Image.fromarray(frame.to_ndarray(format="rgb24")).save(file, "PNG")
                        return file.getvalue()
        except (av.FFmpegError, OSError, IndexError) as error:
            raise DataError(f"{self.path / name} is not a readable video ({error}).") from None
        raise DataError(f"{self.path / name} ends before its middle, frame {count // 2}.")
