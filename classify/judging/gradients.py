"""Which parts of a face moved its score, for networks of torch: gradient times activation.

At the deepest stage of the backbone that still has some places to tell apart, summed over channels (HiResCAM, Draelos
and Carin 2020): what each place there adds to the logit, as far as the layers behind it are linear. Grad-CAM itself
averages the gradient over the places first, and so shows heat where the network did not look, above all where a dense
layer follows.
"""
from __future__ import annotations

from typing import Any

import numpy as np
import torch

LEAST_PLACES = 7  # along a side: ResNet50's last stage at its own 224 px; at 128 px that has 4, the one before it 8
BATCH = 8         # pictures at once: gradients hold all activations


def gradient_maps(net: torch.nn.Module, pictures: np.ndarray) -> np.ndarray | None:
    """Compute what of each picture moved its logit, as classify.judging.attribution.heat_maps gives it.

    net: of classify.models.network.load_checkpoint. pictures: uint8 RGB (n, side, side, 3).
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
    kept: dict[str, torch.Tensor] = {}

    def keep(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        kept["output"] = output
        return output.clone()  # what follows may write into its input

    maps = []
    hook = layer.register_forward_hook(keep)
    try:
        for start in range(0, len(pictures), BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(pictures[start:start + BATCH])).permute(0, 3, 1, 2)
            with torch.enable_grad():
                logits = net(batch.to(device).float().requires_grad_())
            activation = kept["output"]
            [gradient] = torch.autograd.grad(logits.sum(), activation)
            pushes = _places(body, (gradient * activation).detach().float().cpu())
            assert pushes is not None
            maps.append(_scaled(pushes, pictures.shape[1]))
    finally:
        hook.remove()
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

    def remember(name: str) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> Any:
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
