"""Which file is the shipped detector: its name and the digests of its two files, model cards included.

A file that claims this name and is not this file is refused when it is read (classify/models/card.py): its weights, its
threshold or its band would be somebody else's. `python -m classify.release.pin` writes the lines below anew
after `make detector` has made another detector.
"""
from pathlib import Path

SHIPPED = Path(__file__).parents[1] / "release" / "detector.onnx"  # judges where no --model is named
MODEL_ID = "tf_efficientnet_lite0-f4b99bd5"
SHA256 = {
    ".onnx": "26e2a6c56dfe38dcbc6b1408ccd18de5960bfa889f03823d7ef1c762b000cb36",
    ".safetensors": "994fd9bb2124adfde2589550f44d5052726d37987d5ccafa7bed695221909c17",
}
