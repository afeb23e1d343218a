"""The options of batches: how crops are varied, and how reals and fakes are balanced. Imported without torch."""
from __future__ import annotations

from dataclasses import dataclass

from pipeline.options import option

BALANCES = ("loss", "sampling", "pairs", "none")
LEAST_CRF = 18  # held to be without visible loss: x264's own documentation


@dataclass(frozen=True)
class AugmentOptions:
    """How training crops are varied. Each crop gets a new draw every epoch; half of them each degradation."""

    rotate: float = option(15.0, "largest rotation either way, in degrees")
    shift: float = option(0.1, "largest shift along each axis, as a share of the side")
    zoom: float = option(0.0, "largest change of size either way, as a share")
    flip: bool = option(True, "mirror every other crop left to right")
    colour: float = option(0.0, "largest change of brightness, contrast and saturation, as a share")
    cutout: float = option(0.0, "largest side of a grey square put over half of the crops, as a share of the side")
    downscale: float = option(1.0, "smallest size that half of the crops are shrunk to and enlarged again, as a share")
    blur: float = option(0.0, "largest standard deviation in px of a Gaussian blur of half of the crops")
    noise: float = option(0.0, "largest standard deviation in grey levels of noise, of grains of 1 to 2 px, that half "
                               "of the crops get")
    jpeg: int = option(100, "lowest JPEG quality (to 95) that half of the crops are stored with; 100 for none")
    h264: int = option(0, f"highest H.264 constant rate factor (from {LEAST_CRF}) that half of the crops are coded at; "
                          "0 for none")

    def __post_init__(self) -> None:
        for name, low, high in (("rotate", 0, 180), ("shift", 0, .9), ("zoom", 0, .9), ("colour", 0, 1),
                                ("cutout", 0, 1), ("downscale", .05, 1), ("blur", 0, 50), ("noise", 0, 128),
                                ("jpeg", 1, 100), ("h264", 0, 51)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be between {low} and {high}, got {getattr(self, name)}")
        if 0 < self.h264 < LEAST_CRF:
            raise ValueError(f"h264 must be 0 or from {LEAST_CRF} to 51, got {self.h264}")

    @property
    def degrades(self) -> bool:
        """Tell whether any option makes pictures worse."""
        return self.downscale < 1 or self.blur > 0 or self.noise > 0 or self.jpeg < 100 or self.h264 > 0
