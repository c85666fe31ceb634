"""sr3d: indoor 3D object detection from point clouds, and the benchmark behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sr3d._version import __version__

__all__ = ["__version__", "load"]

if TYPE_CHECKING:
    from sr3d.api import load


def __getattr__(name: str) -> Any:
    # `import sr3d` stays instant: torch is imported when a model is first asked for.
    if name == "load":
        from sr3d.api import load

        return load
    raise AttributeError(f"module 'sr3d' has no attribute {name!r}")
