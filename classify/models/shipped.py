"""Which file is the shipped detector: its name and the digests of its two files, model cards included.

A file that claims this name and is not this file is refused when it is read (classify/models/card.py): its weights, its
threshold or its band would be somebody else's. `python -m classify.release.pin` writes the lines below anew
after `make detector` has made another detector.
"""
MODEL_ID = "tf_efficientnet_lite0-ba50b901"
SHA256 = {
    ".onnx": "120b4edc6c7e1829622f75afe184302b80b99d5a2edd5ac5ab9e00ce5bab9282",
    ".safetensors": "954c8be30f649384d855149d468e8c4cd15353cc4b10874fef534ae949944e31",
}
