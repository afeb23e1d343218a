"""`python -m classify.release.pin`: make the detector that lies here the shipped one, whose digest stands in the code.

Run it after `make detector` and its export to .onnx, and commit classify/models/shipped.py with the detector's files.
"""
from __future__ import annotations

import argparse
import hashlib
import re
import sys
from pathlib import Path

from classify.models import shipped
from classify.models.card import read_card
from classify.models.shipped import SHIPPED
from pipeline.errors import CheckpointError, command
from pipeline.tables import write_bytes


def pin(detector: Path = SHIPPED, code: Path = Path(shipped.__file__)) -> dict[str, str]:
    """Write name and digests of this detector into the code.

    Args:
        detector: one of its files; the other kinds lie beside it.
        code: the module that holds them.

    Returns:
        Suffix -> sha256.

    Raises:
        CheckpointError: a file cannot be used, or is of another detector.
    """
    text, named, found = code.read_text(), read_card(detector, pinned=False)["model_id"], {}
    for suffix in shipped.SHA256:
        path = detector.with_suffix(suffix)
        if (other := read_card(path, pinned=False)["model_id"]) != named:
            raise CheckpointError(f"{path} is {other}, and {detector} is {named}: export the one from the other")
        found[suffix] = hashlib.sha256(path.read_bytes()).hexdigest()
        text = re.sub(rf'^    "{re.escape(suffix)}": ".*",$', f'    "{suffix}": "{found[suffix]}",', text, flags=re.M)
    write_bytes(code, re.sub(r'^MODEL_ID = ".*"$', f'MODEL_ID = "{named}"', text, flags=re.M).encode())
    return found


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command; return its exit status."""
    argparse.ArgumentParser(prog="python -m classify.release.pin", description="Write name and digest of "
                            "classify/release/detector.* into classify/models/shipped.py.").parse_args(argv)
    for suffix, digest in pin().items():
        print(f"shipped detector: {suffix}: sha256 {digest}")


if __name__ == "__main__":
    sys.exit(main())
