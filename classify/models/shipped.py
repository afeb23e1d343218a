"""Which file is the shipped detector: its name and the digests of its two files, model cards included.

A file that claims this name and is not this file is refused when it is read (classify/models/card.py): its weights, its
threshold or its band would be somebody else's. `python -m classify.release.pin` writes the lines below anew
after `make detector` has made another detector.
"""
from pathlib import Path

SHIPPED = Path(__file__).parents[1] / "release" / "detector.onnx"  # judges where no --model is named
MODEL_ID = "tf_efficientnet_lite0-f4b99bd5"
SHA256 = {
    ".onnx": "84b9a6b576d7ae84651a837394fb983a1bbad858e4f2a263e80d322757a06675",
    ".safetensors": "1749c39717af31599ef9151ff0a5360f85047742c30eda9764988a5f2b010157",
}
