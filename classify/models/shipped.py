"""Which file is the shipped detector: its name and the digests of its two files, model cards included.

A file that claims this name and is not this file is refused when it is read (classify/models/card.py): its weights, its
threshold or its band would be somebody else's. `python -m classify.release.pin` writes the lines below anew
after `make detector` has made another detector.
"""
from pathlib import Path

SHIPPED = Path(__file__).parents[1] / "release" / "detector.onnx"  # judges where no --model is named
MODEL_ID = "tf_efficientnet_lite0-f4b99bd5"
SHA256 = {
    ".onnx": "ddb7dc889e6c149f06a42feb9b52689fff76e24695b60c951301c4a8b4032aef",
    ".safetensors": "d44c99d456ac2aba259320c0187a8158ec3b4cc44c76e88726783cabac691f67",
}
