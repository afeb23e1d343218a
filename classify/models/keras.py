"""Keras' networks with one logit, and `.keras` files: trained on TensorFlow, judged by Keras on torch.

    model.keras         RGB pictures (n, size, size, 3) of 0 to 255 -> P(fake) (n, 1); the preprocessing is inside, code
                        is not (it loads with safe_mode)
    model.keras.json    the model card, with the fields of classify/models/network.py's and the sha256 of the file

What this module does not know: training. TensorFlow is imported only where the caller asks Keras to run on it.
"""
from __future__ import annotations

import functools
import hashlib
import importlib
import os
import re
import tempfile
from pathlib import Path
from typing import Any, Callable

import numpy as np
import torch

from classify.models.card import FORMAT, card_path, check_digest, check_finite, read_card
from classify.models.network import HEAD_STD, probe_logits
from classify.models.options import ModelOptions
from classify.models.probe import check_probe
from pipeline.errors import CheckpointError, OptionsError, WeightsError
from pipeline.tables import write_bytes, write_json

EFFICIENTNET = "efficientnet"
NETWORKS = {  # timm's name: module and function of keras.applications
    "resnet50": ("resnet", "ResNet50"), "mobilenetv2_100": ("mobilenet_v2", "MobileNetV2"),
    **{f"{tf}efficientnet_b{n}": (EFFICIENTNET, f"EfficientNetB{n}") for n in range(8) for tf in ("", "tf_")},
    **{f"tf_efficientnetv2_{n}": ("efficientnet_v2", f"EfficientNetV2{n.upper()}")
       for n in ("b0", "b1", "b2", "b3", "s", "m", "l")}}
NORM_MOMENTUM = 0.9  # of batch norm, timm's; Keras' .99 needs hundreds of steps before validation means anything
MISSING = "is not installed: `make setup EXTRAS={}`"


def keras_on(backend: str) -> Any:
    """The module keras, computing with "torch" or "tensorflow"; a process has one of them for good.

    Raises CheckpointError where Keras is not installed.
    """
    os.environ["KERAS_BACKEND"] = backend
    try:
        keras = importlib.import_module("keras")
    except ImportError:
        raise CheckpointError("keras, which reads .keras files, " + MISSING.format("keras")) from None
    if keras.backend.backend() != backend:
        raise CheckpointError(f"Keras runs on {keras.backend.backend()} in this process, on {backend} only in another")
    return keras


def build(keras: Any, options: ModelOptions) -> tuple[Any, dict[str, Any]]:
    """A Keras model ready to train, and the part of the model card that describes it.

    The model: RGB pictures (n, size, size, 3) of 0 to 255 -> logits (n, 1), higher is faker; the backbone is its layer
    of that name. Raises OptionsError for what Keras does not have, WeightsError where weights cannot be had.
    """
    if options.backbone not in NETWORKS:
        raise OptionsError(f"on TensorFlow there is no {options.backbone!r}, only {', '.join(NETWORKS)}")
    for name in ("spectrum", "methods"):
        if getattr(options, name):
            raise OptionsError(f"{name.upper()} is not there on TensorFlow: leave it out")
    module, name = NETWORKS[options.backbone]
    application = getattr(keras.applications, module)
    make = functools.partial(getattr(application, name), include_top=False, pooling="avg",
                             input_shape=(options.size, options.size, 3))
    try:
        body = make(weights=None)
    except ValueError as error:
        raise OptionsError(f"SIZE={options.size}: {error}") from None
    body.name = options.backbone  # as an argument EfficientNetV2 takes it for a variant
    _load_weights(keras, body, make, options.weights)
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = NORM_MOMENTUM
    rgb = keras.Input((options.size, options.size, 3), name="rgb")
    seen = body(_second_division(keras, module, body)(application.preprocess_input(rgb)))
    if options.hidden:
        seen = keras.layers.Dense(options.hidden, activation="relu", name="hidden")(seen)
    if options.dropout:
        seen = keras.layers.Dropout(options.dropout)(seen)
    small = keras.initializers.RandomNormal(stddev=HEAD_STD)
    card = {"backbone": options.backbone, "framework": "keras", "size_px": options.size, "centre": options.centre,
            "weights": options.weights, "hidden": options.hidden, "dropout": options.dropout, "spectrum": False,
            "methods": []}
    return keras.Model(rgb, keras.layers.Dense(1, kernel_initializer=small, name="logit")(seen)), card


def _second_division(keras: Any, module: str, body: Any) -> Callable[[Any], Any]:
    """What EfficientNet's ImageNet weights want before the network: their own normalisation divides by the square root
    of the spread only. Keras adds the other half of the division where it downloads them, not where a file is read."""
    if module != EFFICIENTNET:
        return lambda pictures: pictures
    norm = next(layer for layer in body.layers if isinstance(layer, keras.layers.Normalization))
    mean, variance = (np.array(w, np.float64).reshape(-1) for w in norm.get_weights()[:2])
    if np.allclose(variance, 1):  # from scratch
        return lambda pictures: pictures
    scale = 1 / np.sqrt(variance)
    return keras.layers.Rescaling(scale.tolist(), (255 * mean * (1 - scale)).tolist(), name="second_division")


def _load_weights(keras: Any, body: Any, make: Callable, weights: str) -> None:
    """Fill the backbone: "imagenet" from Keras' download or its cache, "none", or from a .keras or .h5 file."""
    if weights == "none":
        return
    path = Path(weights)
    if weights != "imagenet" and not path.is_file():
        raise WeightsError(f"WEIGHTS={path}: no such file; give a .keras, .weights.h5 or .h5 file, imagenet or none")
    if weights != "imagenet" and path.suffix not in (".keras", ".h5"):
        raise WeightsError(f"WEIGHTS={path}: on TensorFlow give a .keras, .weights.h5 or .h5 file, imagenet or none")
    try:
        if path.suffix == ".h5":
            body.load_weights(path)
            return
        source = make(weights="imagenet") if weights == "imagenet" else keras.models.load_model(path, compile=False)
        body.set_weights(next((layer for layer in source.layers if layer.name == body.name), source).get_weights())
    except Exception as error:  # a failed download is a bare Exception; readers have no common kind
        if weights == "imagenet":
            url = re.search(r"https?://\S+\.h5", str(error))
            raise WeightsError(
                f"the ImageNet weights of {body.name} can be had neither from Keras' server nor from its cache: "
                f"download {url[0] if url else 'its notop .h5 file'} and pass WEIGHTS=that file; or WEIGHTS=none to "
                "train from scratch") from None
        raise WeightsError(f"WEIGHTS={path} does not fit {body.name} ({type(error).__name__}: "
                           f"{str(error).splitlines()[0] if str(error) else ''})") from None


def logits_of(model: Any, pictures: np.ndarray) -> np.ndarray:
    """Logits, float32 (n,), of RGB pictures (n, size, size, 3), values 0 to 255."""
    return np.asarray(model.predict_on_batch(pictures.astype(np.float32)), np.float32)[:, 0]


class KerasNet(torch.nn.Module):
    """A `.keras` file where a classify.models.network.FaceNet is expected.

    forward: uint8 or float (n, 3, size, size) RGB, values 0 to 255 -> float logits (n,), higher is faker.
    """

    def __init__(self, model: Any, device: str):
        super().__init__()
        self.body, self.where = model, device

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Compute logits."""
        with keras_on("torch").device(self.where):
            return self.body(pictures.permute(0, 2, 3, 1).float(), training=False)[:, 0]


def save_checkpoint(path: Path, model: Any, card: dict[str, Any]) -> dict[str, Any]:
    """Write the model (of `build`) and its card beside it. Returns the card as stored, with its model_id."""
    keras = importlib.import_module("keras")
    judging = keras.Model(model.inputs, keras.layers.Activation("sigmoid", name="score")(model.output))
    with tempfile.TemporaryDirectory() as folder:
        judging.save(Path(folder) / path.name)
        content = (Path(folder) / path.name).read_bytes()
    probe = probe_logits(lambda t: torch.from_numpy(logits_of(model, t.permute(0, 2, 3, 1).numpy())),  # type: ignore
                         card["size_px"])
    card = {**card, "format": FORMAT, "label_map": {"real": 0, "fake": 1}, "probe": probe,
            "model_id": f"{card['backbone']}-keras-{_digest(model)[:8]}",
            "sha256": hashlib.sha256(content).hexdigest()}
    write_json(card_path(path), card)
    write_bytes(path, content)  # last: make looks at its time
    return card


def _digest(model: Any) -> str:
    """The sha256 of a model's weights, as hexadecimal digits."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def load_checkpoint(path: Path, device: str = "cpu") -> tuple[KerasNet, dict[str, Any]]:
    """The network on torch, in evaluation mode, and its card.

    Raises CheckpointError where Keras, the file or its card is missing, the card holds impossible values, the file is
    not the one that the card is of, holds code or weights that are no numbers, or gives other scores than when it was
    saved.
    """
    card = read_card(path)
    keras = keras_on("torch")
    if hashlib.sha256(path.read_bytes()).hexdigest() != card.get("sha256"):
        raise CheckpointError(f"{path} is not the file that {card_path(path)} was written for: copy both again")
    try:
        with keras.device(device):
            model = keras.models.load_model(path, compile=False, safe_mode=True)
            model = keras.Model(model.inputs, model.get_layer("logit").output)
    except Exception as error:  # Keras' readers have no common kind
        raise CheckpointError(f"{path} cannot be read by Keras {keras.__version__} ({type(error).__name__}: {error}); "
                              f"it was made with {card.get('versions')}") from None
    check_digest(path, card, _digest(model))
    check_finite(path, ((f"weight {n}", weight) for n, weight in enumerate(model.get_weights())))
    net = KerasNet(model, device).eval()
    now = probe_logits(lambda t: net(t.to(device)), card["size_px"])  # type: ignore[arg-type]
    check_probe(path, now, card["probe"], card.get("versions"))
    return net, card
