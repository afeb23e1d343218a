"""`python -m classify.release.pin`: make the detector that lies here the shipped one, whose digest stands in the code.

Run it after `make detector`, and commit classify/models/shipped.py together with the detector.
"""
from __future__ import annotations

import argparse
import hashlib
import re
import sys
from pathlib import Path

from classify.models import shipped
from classify.models.card import read_card
from classify.video import SHIPPED
from pipeline.errors import command
from pipeline.tables import write_bytes


def pin(detector: Path = SHIPPED, code: Path = Path(shipped.__file__)) -> tuple[str, str]:
    """Write name and digest of this detector into the code. Returns both. Raises CheckpointError."""
    card = read_card(detector, pinned=False)
    digest = hashlib.sha256(detector.read_bytes()).hexdigest()
    text = code.read_text()
    for name, value in (("MODEL_ID", card["model_id"]), ("SHA256", digest)):
        text = re.sub(rf'^{name} = ".*"$', f'{name} = "{value}"', text, flags=re.MULTILINE)
    write_bytes(code, text.encode())
    return card["model_id"], digest


@command
def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(prog="python -m classify.release.pin", description="Write name and digest of "
                            "classify/release/detector.safetensors into classify/models/shipped.py.").parse_args(argv)
    print("shipped detector: {}, sha256 {}".format(*pin()))


if __name__ == "__main__":
    sys.exit(main())
