"""Which versions a score comes from."""
from __future__ import annotations

from importlib import metadata

DECIDING = ("torch", "timm", "facenet-pytorch", "onnxruntime", "onnxruntime-gpu", "opencv-python-headless", "av")


def versions() -> dict[str, str]:
    """List the installed packages that decide a score, with their versions, for a model's card or a sheet."""
    found = {}
    for name in DECIDING:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # judging needs but some of them
    return found
