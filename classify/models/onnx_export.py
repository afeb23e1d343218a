"""A network of torch as an .onnx file: the graph that ONNX Runtime is given, in 32 or 16 bits, with its heat map.

The map needs no gradient. Each place of the last feature map is taken as if all places looked like it, and pooled and
judged by the head: its heat is how far that logit is from the one of an empty map, divided by the number of places.
Where the head is linear behind a mean, this is exactly gradient times activation (what classify.judging.gradients
computes on torch, at a finer stage), and all places and the empty map add up to the logit. Where the head bends (a
dense layer, a norm or a convolution behind the pooling), it is what that place alone would have been called.
"""
from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from typing import Any, NamedTuple, Sequence

import numpy as np
import torch
from torch.nn import functional

from classify.models.network import Ensemble, FaceNet
from classify.models.onnx_file import CARD_KEY, digest_of
from pipeline.errors import CheckpointError

OPSET = 18  # of ONNX: what every runtime of 2024 and later reads
HALF_FROM = 64  # numbers in a tensor from which it is stored in 16 bits
EXACT, ALONE, NONE = "exact", "each place by itself", ""
ADDS_UP = 1e-3  # logits; of ten or so, in float32


class Exported(NamedTuple):
    """A graph without its card. heat: EXACT, ALONE or NONE, how its heat map is meant."""

    content: bytes
    heat: str


class _Judged(torch.nn.Module):
    """FaceNet from float (n, 3, side, side), 0 to 255, to its logit (n,) and heat (n, rows, columns), if it has one."""

    def __init__(self, net: FaceNet, size: int):
        super().__init__()
        self.net = net
        self.heat = self._kind_of_heat(size)

    def forward(self, planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.heat == NONE:
            return self.net(planes), None
        body: Any = self.net.body
        beside = None if self.net.spectrum is None else self.net.spectrum(planes)
        features = body.forward_features((planes - self.net.mean) / self.net.std)
        return self._logit(body.forward_head(features), beside), self._heat(features, beside)

    def _heat(self, features: torch.Tensor, beside: torch.Tensor | None) -> torch.Tensor:
        last = self._channels_last()
        n, rows, columns, channels = (features if last else features.permute(0, 2, 3, 1)).shape
        places = (features if last else features.permute(0, 2, 3, 1)).reshape(-1, 1, 1, channels)
        count = rows * columns
        each = None if beside is None else beside[:, None].expand(-1, count, -1).reshape(-1, beside.shape[1])
        body: Any = self.net.body
        alone = self._logit(body.forward_head(places if last else places.permute(0, 3, 1, 2)), each)
        empty = self._empty(features, beside)
        return (alone.reshape(-1, rows, columns) - empty.reshape(-1, 1, 1)) / count

    def _empty(self, features: torch.Tensor, beside: torch.Tensor | None) -> torch.Tensor:
        """The logit of a feature map of zeros."""
        place = features[:, :1, :1] if self._channels_last() else features[:, :, :1, :1]
        body: Any = self.net.body
        return self._logit(body.forward_head(place * 0), beside)

    def _logit(self, seen: torch.Tensor, beside: torch.Tensor | None) -> torch.Tensor:
        return self.net.head(seen if beside is None else torch.cat([seen, beside], 1)).flatten()

    def _channels_last(self) -> bool:
        return getattr(self.net.body, "output_fmt", "NCHW") == "NHWC"

    @torch.inference_mode()
    def _kind_of_heat(self, size: int) -> str:
        """Try the map on noise. Networks differ in too many ways to be asked."""
        body: Any = self.net.body
        if not hasattr(body, "forward_features") or not hasattr(body, "forward_head"):
            return NONE
        noise = torch.randint(0, 256, (2, 3, size, size), generator=torch.Generator().manual_seed(0)).float()
        beside = None if self.net.spectrum is None else self.net.spectrum(noise)
        try:
            features = body.forward_features((noise - self.net.mean) / self.net.std)
            if features.ndim != 4:
                return NONE
            heat = self._heat(features, beside)
            logit = self._logit(body.forward_head(features), beside)
            if not torch.allclose(logit, self.net(noise), rtol=1e-4, atol=1e-4) or not heat[0].numel() > 1:
                return NONE
            adds_up = heat.sum((1, 2)) + self._empty(features, beside)
            return EXACT if torch.allclose(adds_up, logit, rtol=1e-3, atol=ADDS_UP) else ALONE
        except Exception:  # a head that cannot take one place, of which timm has several kinds
            return NONE


class _JudgedTogether(torch.nn.Module):
    """The same for an Ensemble. Its map has the size of the picture: the mean of the members', each on its part of it,
    where one without a map counts as nothing."""

    def __init__(self, net: Ensemble, side: int):
        super().__init__()
        self.members = torch.nn.ModuleList(_Judged(member, size)  # type: ignore[arg-type]
                                           for member, (_, size) in zip(net.members, net.parts))
        kinds = {member.heat for member in self.members}
        self.heat = NONE if kinds == {NONE} else EXACT if kinds == {EXACT} else ALONE
        self.edges = [round(side * (1 - share) / 2) for share, _ in net.parts]
        for number, ((_, size), edge) in enumerate(zip(net.parts, self.edges)):
            # A bilinear change of size is a product with a matrix from either side, which every runtime computes alike.
            self.register_buffer(f"shrink{number}", _resizing(side - 2 * edge, size, antialias=True))
            if self.members[number].heat != NONE:
                rows = self._places(self.members[number], size)
                grow = _resizing(rows, side - 2 * edge, antialias=False)
                self.register_buffer(f"grow{number}", functional.pad(grow, (0, 0, edge, edge)))

    @staticmethod
    @torch.inference_mode()
    def _places(member: Any, size: int) -> int:
        return member(torch.zeros(1, 3, size, size))[1].shape[1]

    def forward(self, planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        side, logits, heats = planes.shape[-1], [], []
        for number, (member, edge) in enumerate(zip(self.members, self.edges)):
            part = planes[..., edge:side - edge, edge:side - edge]
            shrink = self.get_buffer(f"shrink{number}")
            logit, heat = member(shrink @ part @ shrink.T if part.shape[-1] != shrink.shape[0] else part)
            logits.append(logit)
            if heat is not None:
                grow = self.get_buffer(f"grow{number}")
                heats.append(grow @ heat @ grow.T)
        return torch.stack(logits, 1).mean(1), sum(heats) / len(self.members) if heats else None


def _resizing(before: int, after: int, antialias: bool) -> torch.Tensor:
    """The matrix (after, before) of torch's bilinear change of size along one axis."""
    eye = torch.eye(before)[None, None]
    if before == after:
        return eye[0, 0]
    return functional.interpolate(eye, (after, before), mode="bilinear", antialias=antialias)[0, 0]


class _Graph(torch.nn.Module):
    """What is exported: uint8 RGB (n, side, side, 3) to logit, score and, if the network has it, heat."""

    def __init__(self, judged: torch.nn.Module):
        super().__init__()
        self.judged = judged

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logit, heat = self.judged(pictures.permute(0, 3, 1, 2).float())
        return (logit, torch.sigmoid(logit)) + (() if heat is None else (heat,))


def export_graph(net: FaceNet | Ensemble, card: dict[str, Any], half: bool) -> Exported:
    """Write a network as an ONNX graph without its card.

    Args:
        net: of classify.models.network.load_torch, on the CPU.
        card: of the network.
        half: store weights in 16 bits. They are computed with in 32.

    Raises:
        CheckpointError: the network has a part that ONNX cannot express.
    """
    side = card["size_px"]
    judged: Any = _JudgedTogether(net, side) if isinstance(net, Ensemble) else _Judged(net, side)
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    names = ["logit", "score"] + (["heat"] if judged.heat != NONE else [])
    try:
        with _silenced():
            program = torch.onnx.export(
                _Graph(judged).eval(), (example,), dynamo=True, opset_version=OPSET, verbose=False,
                dynamic_shapes=({0: torch.export.Dim("n", min=1)},), input_names=["pictures"], output_names=names)
        assert program is not None
        model = program.model_proto
    except Exception as error:  # the exporter's errors have no common kind
        why = " ".join((str(error) or type(error).__name__).split())[:200]
        raise CheckpointError(f"{card['backbone']} cannot be exported to ONNX ({why}): judge with its .safetensors file"
                              ) from None
    _strip(model)
    if half:
        _halve(model, [weight.detach().numpy() for weight in net.parameters() if weight.ndim > 1])
    return Exported(model.SerializeToString(deterministic=True), judged.heat)


def with_card(content: bytes, card: dict[str, Any]) -> bytes:
    """Put a model card, with the graph's digest, into the metadata of an ONNX file that has none."""
    import onnx

    model = onnx.ModelProto.FromString(content)
    del model.metadata_props[:]
    bare = model.SerializeToString(deterministic=True)
    card = {**card, "exported": {**card["exported"], "graph_sha256": digest_of(bare)}}
    model.metadata_props.add(key=CARD_KEY, value=json.dumps(card))
    return model.SerializeToString(deterministic=True)


def _strip(model: Any) -> None:
    """Remove what the exporter notes of this machine: paths and stack traces."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    for part in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]


def _halve(model: Any, weights: Sequence[np.ndarray]) -> None:
    """Store weights in 16 bits, each cast back to 32 where it is used.

    The exporter has multiplied the weights of convolutions with the factors of the norms behind them. Rounded so, they
    would not be those of a checkpoint in 16 bits: the weights as they were are rounded, and the factors stay beside
    them in 32 bits.

    Args:
        weights: those of the network, float32 arrays.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes, kept = [], []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.ndim < 2 or values.size < HALF_FROM:
            kept.append(tensor)
            continue
        weight, factor = _factored(values, weights)
        kept.append(numpy_helper.from_array(weight.astype(np.float16), f"{tensor.name}.bits16"))
        if factor is None:
            nodes.append(helper.make_node("Cast", [f"{tensor.name}.bits16"], [tensor.name], to=TensorProto.FLOAT))
            continue
        kept.append(numpy_helper.from_array(factor, f"{tensor.name}.factor"))
        nodes.append(helper.make_node("Cast", [f"{tensor.name}.bits16"], [f"{tensor.name}.bits32"],
                                      to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [f"{tensor.name}.bits32", f"{tensor.name}.factor"], [tensor.name]))
    nodes += model.graph.node
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)


def _factored(values: np.ndarray, weights: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
    """The weight that `values` are a multiple of in each output channel, and the factors; else `values` and None."""
    axes = tuple(range(1, values.ndim))
    for weight in weights:
        if weight.shape == values.shape and not np.array_equal(weight, values):
            own = (weight.astype(np.float64) ** 2).sum(axes, keepdims=True)
            factor = (values * weight.astype(np.float64)).sum(axes, keepdims=True) / np.maximum(own, 1e-30)
            if np.abs(weight * factor - values).max() <= 1e-6 * np.abs(values).max():
                return weight, factor.astype(np.float32)
    return values, None


@contextlib.contextmanager
def _silenced():
    """Keep the exporter's progress and its remarks on its own workings off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
