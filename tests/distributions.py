"""Builds the distributions as ``python -m build`` does, but in this process and without an index."""

from __future__ import annotations

import tarfile
from pathlib import Path

from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
#: The folder of the emulator's own distribution
EMULATOR_ROOT = ROOT / "emulator"


def build_wheel(source: Path, folder: Path) -> Path:
    """Build the wheel of what is in ``source``; return its path, in ``folder``."""
    (path,) = WheelBuilder(str(source)).build(directory=str(folder), versions=["standard"])
    return Path(path)


def build_sdist(source: Path, folder: Path) -> Path:
    """Build the source distribution of what is in ``source``; return its path, in ``folder``."""
    (path,) = SdistBuilder(str(source)).build(directory=str(folder), versions=["standard"])
    return Path(path)


def unpack_sdist(sdist: Path, folder: Path) -> Path:
    """Unpack a source distribution; return the folder that it holds."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    return unpacked
