"""Networks that give one logit a face, and the checkpoint: one file that carries all that is needed to use it.

A network is a timm backbone (or the small CNN of the third older project), pooled, and a head of one logit; where asked
a branch beside it sees the picture's spectrum. The file is safetensors; its header holds the model card as JSON:
backbone, input size, crop and frame options, label map, aggregation, threshold, split hash, versions. Loading runs no
pickled code. The card also holds the logits of two drawn pictures; loading recomputes them, so that a library upgrade
that changes the network is an error, not a number.
"""
from __future__ import annotations

import difflib
import hashlib
import importlib
import json
from pathlib import Path
from typing import Any, Sequence

import torch

from classify.models import efficientnet_lite, shipped
from classify.models.card import FORMAT, check_digest, check_finite, read_card
from classify.models.options import SMALL_CNN, ModelOptions
from classify.models.pretrained import load_weights
from classify.models.probe import check_probe, probe_pictures
from pipeline.errors import CheckpointError, OptionsError
from pipeline.tables import write_bytes

HEAD_STD = 1e-3        # of the one-logit head at the start: scores begin at .5; timm's default saturates them
SPECTRUM = 64          # features of the spectrum branch


class FaceNet(torch.nn.Module):
    """A backbone with pooled features, perhaps a spectrum branch, and one logit.

    forward: uint8 or float (n, 3, size, size) RGB, values 0 to 255 -> float logits (n,), higher is faker.
    card: backbone, size_px, mean, std, hidden, dropout, spectrum, methods, as in the model card. to_judge: a backbone
    without weights, which loads faster where this project has its own.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, card: dict[str, Any], to_judge: bool = False):
        super().__init__()
        lean = to_judge and card["backbone"] in efficientnet_lite.VARIANTS
        self.body = (efficientnet_lite.EfficientNetLite(card["backbone"]) if lean
                     else _body(card["backbone"], card["size_px"]))
        self.register_buffer("mean", torch.tensor(card["mean"]).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(card["std"]).view(1, 3, 1, 1) * 255, persistent=False)
        self.spectrum = Spectrum() if card["spectrum"] else None
        width = self.body.head_hidden_size + (SPECTRUM if card["spectrum"] else 0)
        layers: list[torch.nn.Module] = []
        if card["hidden"]:
            layers = [torch.nn.Linear(width, card["hidden"]), torch.nn.ReLU()]
        last = torch.nn.Linear(card["hidden"] or width, 1)
        torch.nn.init.normal_(last.weight, std=HEAD_STD)
        torch.nn.init.zeros_(last.bias)
        self.head = torch.nn.Sequential(*layers, torch.nn.Dropout(card["dropout"]), last)
        self.method_head = torch.nn.Linear(width, len(card["methods"])) if card["methods"] else None

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """What the head sees, float (n, width)."""
        normal = (pictures.float() - self.mean) / self.std
        seen = self.body(normal.contiguous(memory_format=torch.channels_last))
        return seen if self.spectrum is None else torch.cat([seen, self.spectrum(pictures)], 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Compute the network's output for pictures."""
        return self.head(self.features(pictures)).flatten()


class Ensemble(torch.nn.Module):
    """Networks that judge together: the mean of their logits, each of its own part and size of the crop.

    cards, to_judge: of the members. forward: as FaceNet's, at the largest size and centre of the members. Trains as one
    network.
    """

    def __init__(self, cards: Sequence[dict[str, Any]], to_judge: bool = False):
        super().__init__()
        self.members = torch.nn.ModuleList(FaceNet(card, to_judge) for card in cards)
        centre = max(card["centre"] for card in cards)
        self.parts = [(card["centre"] / centre, card["size_px"]) for card in cards]

    method_head = None

    @property
    def body(self) -> torch.nn.Module:
        """The members' backbones: what training may freeze."""
        return torch.nn.ModuleList([member.get_submodule("body") for member in self.members])

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """The members' logits, float (n, members)."""
        logits = []
        for member, (share, size) in zip(self.members, self.parts):
            side = pictures.shape[-1]
            edge = round(side * (1 - share) / 2)
            part = pictures[..., edge:side - edge, edge:side - edge].float()
            if part.shape[-1] != size:
                part = torch.nn.functional.interpolate(part, (size, size), mode="bilinear", antialias=True)
            logits.append(member(part).float())
        return torch.stack(logits, 1)

    def head(self, features: torch.Tensor) -> torch.Tensor:
        """Average the members' logits."""
        return features.mean(1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Compute the network's output for pictures."""
        return self.head(self.features(pictures))


class Spectrum(torch.nn.Module):
    """Features of the log-magnitude spectrum: generators leave traces there that pixels hide (Durall et al. 2020)."""

    def __init__(self):
        super().__init__()
        stages: list[torch.nn.Module] = []
        for before, after in ((1, 16), (16, 32), (32, SPECTRUM)):
            stages += [torch.nn.Conv2d(before, after, 3, 2, 1, bias=False), torch.nn.BatchNorm2d(after),
                       torch.nn.ReLU()]
        self.layers = torch.nn.Sequential(*stages, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """float or uint8 (n, 3, side, side), values 0 to 255 -> float (n, SPECTRUM)."""
        with torch.autocast(pictures.device.type, enabled=False):  # half precision overflows at the zero frequency
            grey = pictures.float().mean(1) / 255
            spectrum = torch.fft.fftshift(torch.fft.fft2(grey, norm="ortho"), dim=(-2, -1)).abs()
            logs = torch.log(spectrum + 1e-4)
        return self.layers(logs[:, None] / 4)  # about unit spread


class SmallCNN(torch.nn.Module):
    """The third older project's network up to its logit: two convolutions and a dense layer, for pictures of 32 px."""

    head_hidden_size = 128
    pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "classifier": ()}

    def __init__(self, size: int):
        super().__init__()
        nn = torch.nn
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2),
            nn.Flatten(), nn.Linear(64 * (size // 4) ** 2, self.head_hidden_size), nn.ReLU())

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Compute the network's output for pictures."""
        return self.layers(pictures)


def build(options: ModelOptions, methods: Sequence[str] = ()) -> tuple[FaceNet, dict[str, Any]]:
    """A network ready to train, and the part of the model card that rebuilds it.

    methods: names of what the second head, where there is one, tells apart.
    Raises OptionsError for an unknown backbone, WeightsError where pretrained weights cannot be had.
    """
    config = _body(options.backbone, options.size).pretrained_cfg
    card = {"backbone": options.backbone, "size_px": options.size, "centre": options.centre,
            "mean": list(config["mean"]), "std": list(config["std"]), "weights": options.weights,
            "hidden": options.hidden, "dropout": options.dropout, "spectrum": options.spectrum,
            "methods": list(methods) if options.methods else []}
    net = FaceNet(card)
    load_weights(net.body, options.backbone, options.weights)
    return net.to(memory_format=torch.channels_last), card


def scores_of(net: torch.nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """P(fake) in [0, 1], float32 (n,), of uint8 pictures (n, 3, size, size) RGB."""
    with torch.inference_mode():
        return torch.sigmoid(net(pictures).float())


def methods_of(net: FaceNet, pictures: torch.Tensor) -> torch.Tensor:
    """Were they fakes: the probability of each method of the card, float32 (n, methods), rows sum to 1."""
    assert net.method_head is not None
    with torch.inference_mode():
        return torch.softmax(net.method_head(net.features(pictures)).float(), 1)


def save_checkpoint(path: Path, net: torch.nn.Module, card: dict[str, Any], half: bool = False) -> dict[str, Any]:
    """Write network and card as one file, whole or not at all. Returns the card as stored, with its model_id.

    half: weights (not the statistics of norms) are rounded to 16 bits and stored so, in half of the bytes.
    """
    from safetensors.torch import save

    net = net.to("cpu").eval()
    state = {k: v.contiguous() for k, v in net.state_dict().items()}
    if half:
        state |= {k: v.detach().half().contiguous() for k, v in net.named_parameters()}
        net.load_state_dict(state)  # as it will be once loaded: the card's probe is of these weights
    card = {**card, "format": FORMAT, "label_map": {"real": 0, "fake": 1}, "probe": probe_logits(net, card["size_px"]),
            "model_id": "-".join(filter(None, (card["backbone"], card.get("calibration") and card.get("variant"),
                                               _digest(state)[:8])))}
    # "format" is what huggingface_hub asks of a file of torch.
    write_bytes(path, _with_sorted_header(save(state, {"card": json.dumps(card), "format": "pt"})))
    return card


def _with_sorted_header(content: bytes) -> bytes:
    """The same safetensors file with the entries of its metadata in order: the library writes them in any."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + content[8 + length:]


def _digest(state: dict[str, torch.Tensor]) -> str:
    """The sha256 of weights as they are stored, as hexadecimal digits. state: contiguous tensors."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].numpy().tobytes())
    return digest.hexdigest()


def load_checkpoint(path: Path, device: str = "cpu", to_train: bool = False, pinned: bool = True
                    ) -> tuple[FaceNet, dict[str, Any]]:
    """The network in evaluation mode and its card. to_train: every part of it is what `build` gives, timm's. pinned: of
    `read_card`.

    Raises CheckpointError when the file is missing, damaged, of another format, changed after it was saved, or no
    longer gives the scores it gave when it was saved.
    """
    if path.suffix == ".keras":
        return importlib.import_module("classify.models.keras").load_checkpoint(path, device)
    if path.suffix == ".onnx":
        raise CheckpointError(f"{path} is there to judge with: name the .safetensors file that it was exported from")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    card = read_card(path, pinned)
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): train again or copy it again") from None
    if not pinned or card["model_id"] != shipped.MODEL_ID:  # of that one the whole file was compared
        check_digest(path, card, _digest(state))
        check_finite(path, state.items())
    try:
        net: Any = Ensemble(card["members"], not to_train) if "members" in card else FaceNet(card, not to_train)
        net.load_state_dict(state)
    except (OptionsError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"{path} does not fit {card.get('backbone')} of this timm "
                              f"({str(error).splitlines()[0]}): it was made with {card.get('versions')}") from None
    net = net.to(memory_format=torch.channels_last).eval()
    check_probe(path, probe_logits(net, card["size_px"]), card["probe"], card.get("versions"))
    return net.to(device), card


def load_torch(path: Path, pinned: bool = True) -> tuple[Any, dict[str, Any]]:
    """`load_checkpoint` where torch's network is wanted, a FaceNet or an Ensemble: to train on, or to join others."""
    net, card = load_checkpoint(path, to_train=True, pinned=pinned)
    if not isinstance(net, FaceNet | Ensemble):
        raise CheckpointError(f"{path} is Keras' network: name one of torch")
    return net, card


def resized(net: Any, card: dict[str, Any], size: int) -> tuple[FaceNet, dict[str, Any]]:
    """The same weights for inputs of `size` px. Raises OptionsError where a network is made for one size."""
    if "members" in card:
        raise OptionsError("an ensemble's members have sizes of their own: go on with one of them")
    card = {**card, "size_px": size}
    other = FaceNet(card)
    try:
        other.load_state_dict(net.state_dict())
    except RuntimeError:
        raise OptionsError(f"{card['backbone']} is made for one size: it cannot go on at {size} px") from None
    return other.to(memory_format=torch.channels_last), card


def _body(backbone: str, size: int) -> Any:
    """The backbone without a classifier: pictures to pooled features, (n, head_hidden_size)."""
    import timm

    if backbone == SMALL_CNN:
        return SmallCNN(size)
    if backbone not in timm.list_models():
        close = difflib.get_close_matches(backbone, timm.list_models(), 5)
        raise OptionsError(f"timm has no model {backbone!r}" + (f"; near it: {', '.join(close)}" if close else ""))
    config = timm.get_pretrained_cfg(backbone)
    # Networks with position embeddings are built for one size; the others take any.
    sized: dict[str, Any] = {"img_size": size} if config is not None and config.fixed_input_size else {}
    return timm.create_model(backbone, pretrained=False, num_classes=0, **sized)


def probe_logits(net: torch.nn.Module, size: int) -> list[float]:
    """Compute the logits of classify.models.probe.probe_pictures."""
    pictures = torch.from_numpy(probe_pictures(size)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        return [round(float(v), 6) for v in net(pictures)]
