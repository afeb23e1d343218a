"""Which parts of a face moved its score: heat maps, made after the verdict and no part of it.

Gradient times activation at the deepest stage of the backbone that still has some places to tell apart, summed over
channels (HiResCAM, Draelos and Carin 2020; captum's LayerGradientXActivation): what each place there adds to the logit,
as far as the layers behind it are linear. Grad-CAM itself averages the gradient over the places first, and so shows
heat where the network did not look, above all where a dense layer follows.

What this module does not know: why. A warm place moved the score; whether something is wrong with it, it does not say.
The spectrum branch has no places and is left out; Keras' networks have no map.
"""
from __future__ import annotations

from typing import Any

import numpy as np
import torch

LEAST_PLACES = 7  # along a side: ResNet50's last stage at its own 224 px; at 128 px that has 4, the one before it 8
BATCH = 8         # pictures at once: gradients hold all activations


def heat_maps(net: torch.nn.Module, pictures: np.ndarray) -> np.ndarray | None:
    """What of each picture moved its logit: float32 (n, side, side), above 0 towards fake, below towards real.

    net: of classify.models.network.load_checkpoint. pictures: uint8 RGB (n, side, side, 3), as the network sees
    them. The unit
    is logits a place of the layer, so that maps of one network can be compared. None where the network has no places.
    """
    members = getattr(net, "members", None)
    if members is None:
        return _maps(net, pictures)
    total, n_with = np.zeros(pictures.shape[:3], np.float32), 0  # an ensemble: the mean, each on its part of the crop
    for member, (share, size) in zip(members, net.parts):  # type: ignore[arg-type, union-attr]
        side = pictures.shape[1]
        edge = round(side * (1 - share) / 2)
        part = torch.from_numpy(np.ascontiguousarray(pictures[:, edge:side - edge, edge:side - edge]))
        seen = torch.nn.functional.interpolate(part.permute(0, 3, 1, 2).float(), (size, size), mode="bilinear",
                                               antialias=True)
        maps = _maps(member, seen.permute(0, 2, 3, 1).numpy())
        if maps is not None:
            total[:, edge:side - edge, edge:side - edge] += _scaled(torch.from_numpy(maps), side - 2 * edge)
            n_with += 1
    return total / len(members) if n_with else None  # type: ignore[arg-type]


def _maps(net: Any, pictures: np.ndarray) -> np.ndarray | None:
    """The same for one network."""
    if not hasattr(net, "mean"):  # not torch's: Keras'
        return None
    body, device = net.body, net.mean.device
    layer = pick_layer(body, pictures.shape[1], device)
    if layer is None:
        return None
    from captum.attr import LayerGradientXActivation

    attribution, maps = LayerGradientXActivation(net, layer), []
    for start in range(0, len(pictures), BATCH):
        batch = torch.from_numpy(np.ascontiguousarray(pictures[start:start + BATCH])).permute(0, 3, 1, 2)
        batch = batch.to(device).float().requires_grad_()
        pushes = _places(body, attribution.attribute(batch).detach().float().cpu())
        assert pushes is not None
        maps.append(_scaled(pushes, pictures.shape[1]))
    return np.concatenate(maps)


def pick_layer(body: torch.nn.Module, size: int, device: Any = "cpu") -> torch.nn.Module | None:
    """The deepest stage of a backbone with at least LEAST_PLACES places a side, else the one with the most places.

    Stages are those that timm lists (`feature_info`), else all layers of the backbone. None where no output of them has
    places. Of a transformer the last block is left out: behind it only the class token counts.
    """
    modules = dict(body.named_modules())
    listed = getattr(body, "feature_info", None)
    names = [info["module"] for info in listed if info.get("module") in modules] if isinstance(listed, list) else []
    names = names or [name for name, module in modules.items() if name and not list(module.children())]
    if getattr(body, "num_prefix_tokens", 0) and len(names) > 1:
        names = names[:-1]
    sides: dict[str, int] = {}

    def remember(name: str):
        def hook(_module, _inputs, output):
            places = _places(body, output) if isinstance(output, torch.Tensor) else None
            if places is not None:
                sides[name] = min(places.shape[1:])
        return hook

    hooks = [modules[name].register_forward_hook(remember(name)) for name in names]
    try:
        with torch.no_grad():
            body(torch.zeros(1, 3, size, size, device=device).contiguous(memory_format=torch.channels_last))
    finally:
        for hook in hooks:
            hook.remove()
    if not sides:
        return None
    order = list(sides)
    enough = [name for name in order if sides[name] >= LEAST_PLACES]
    return modules[enough[-1] if enough else max(order, key=lambda name: (sides[name], order.index(name)))]


def _places(body: Any, output: torch.Tensor) -> torch.Tensor | None:
    """An output summed over its channels, (n, height, width); None where it has no places.

    Tokens (n, count, channels) of a transformer lie row by row behind the prefix tokens.
    """
    if output.ndim == 4:
        return output.sum(-1 if getattr(body, "output_fmt", "NCHW") == "NHWC" else 1)
    if output.ndim == 3:
        tokens = output[:, getattr(body, "num_prefix_tokens", 0):]
        side = round(tokens.shape[1] ** .5)
        return tokens.sum(2).reshape(-1, side, side) if side * side == tokens.shape[1] else None
    return None


def _scaled(maps: torch.Tensor, side: int) -> np.ndarray:
    return torch.nn.functional.interpolate(maps[:, None], (side, side), mode="bilinear")[:, 0].numpy()


def most(maps: np.ndarray | None) -> float:
    """The strength at which colours are full: nearly the strongest place of all maps (one odd place must not pale the
    rest), 0 where there is nothing to show."""
    return float(np.quantile(np.abs(maps), .998)) if maps is not None and maps.size else 0.0


def coloured(picture: np.ndarray, heat: np.ndarray, full: float) -> np.ndarray:
    """A picture under its heat: uint8 RGB (side, side, 3). Orange pushed towards fake, blue towards real.

    picture: uint8 RGB (side, side, 3). heat: float32 (height, width). full: of `most`, the same for all of a clip.
    """
    import cv2

    strength = cv2.resize(heat, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR) / max(full, 1e-12)
    opaque = .75 * np.clip(np.abs(strength), 0, 1)[..., None]
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.float32)
    # Two colours that people with a red-green weakness tell apart.
    colours = np.where(strength[..., None] > 0, np.array([255, 120, 0]), np.array([0, 110, 255]))
    return (grey * (1 - opaque) + colours * opaque).round().astype(np.uint8)
