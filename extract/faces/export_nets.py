"""Make the files that ship in this folder: MTCNN's networks for ONNX Runtime, from facenet-pytorch's weights.

    python -m extract.faces.export_nets

Input `pictures`, uint8 RGB (n, height, width, 3); output `answer`, as OnnxNets describes it. Each net is compared with
facenet-pytorch's weights on torch before it is written. PReLU is written as x + (slope - 1) min(x, 0): ONNX Runtime has
no fast PReLU, and this form costs a third less (measured).
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from extract.faces.onnx_nets import FOLDER
from pipeline.errors import WeightsError, command
from pipeline.onnx_session import open_session
from pipeline.tables import write_bytes

SIDES = {"p": 40, "r": 24, "o": 48}  # px of the pictures that are compared; P-Net takes any size
NEAR = 1e-4
OPSET, IR = 18, 10  # of ONNX, what every runtime of 2024 and later reads


class _Graph:
    """Collects the nodes of one net. w: its weights, numpy arrays by facenet-pytorch's names."""

    def __init__(self, w: dict[str, np.ndarray]):
        self.w = w
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}

    def add(self, kind: str, *inputs: Any, **attributes: Any) -> str:
        """Add a node and return the name of its output. inputs: names, or arrays that become constants."""
        from onnx import helper

        names = []
        for value in inputs:
            if not isinstance(value, str):
                name = f"w{len(self.constants)}"
                self.constants[name] = np.ascontiguousarray(value, np.float32).reshape(np.shape(value))
                value = name
            names.append(value)
        output = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [output], **attributes))
        return output

    def conv(self, layer: str, x: str) -> str:
        return self.prelu(layer, self.add("Conv", x, self.w[f"conv{layer}.weight"], self.w[f"conv{layer}.bias"]), 3)

    def pool(self, x: str, side: int) -> str:
        return self.add("MaxPool", x, kernel_shape=[side, side], strides=[2, 2], ceil_mode=1)

    def dense(self, layer: str, x: str) -> str:
        """A dense layer over all places. Its weights have Caffe's order: columns before rows before channels."""
        flat = self.add("Flatten", self.add("Transpose", x, perm=[0, 3, 2, 1]), axis=1)
        w, b = self.w[f"dense{layer}.weight"], self.w[f"dense{layer}.bias"]
        return self.prelu(layer, self.add("Gemm", flat, w, b, transB=1), 1)

    def prelu(self, layer: str, x: str, rank: int) -> str:
        slope = self.w[f"prelu{layer}.weight"].reshape(-1, *[1] * (rank - 1))
        below = self.add("Clip", x, "", np.float32(0))
        return self.add("Add", x, self.add("Mul", below, slope - 1))

    def last(self, layer: str, heads: str) -> tuple[np.ndarray, np.ndarray]:
        """Weights and bias of all heads together; the first one's two outputs become one, the logit of a face."""
        parts = []
        for kind in ("weight", "bias"):
            no_face, face = self.w[f"{layer}_1.{kind}"]
            parts.append(np.concatenate([[face - no_face], *(self.w[f"{layer}_{head}.{kind}"] for head in heads)]))
        return parts[0], parts[1]


def make_net(name: str, w: dict[str, np.ndarray]) -> bytes:
    """Write p-, r- or o-net as an ONNX file. w: of extract.faces.torch_nets.weights, as numpy arrays."""
    from onnx import TensorProto, checker, helper, numpy_helper

    graph = _Graph(w)
    x = graph.add("Transpose", graph.add("Cast", "pictures", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    if name == "p":
        x = graph.conv("3", graph.conv("2", graph.pool(graph.conv("1", x), 2)))
        x = graph.add("Conv", x, *graph.last("conv4", "2"))
    else:
        x = graph.pool(graph.conv("2", graph.pool(graph.conv("1", x), 3)), 3)
        if name == "r":
            x = graph.dense("4", graph.conv("3", x))
            x = graph.add("Gemm", x, *graph.last("dense5", "2"), transB=1)
        else:
            x = graph.dense("5", graph.conv("4", graph.pool(graph.conv("3", x), 2)))
            x = graph.add("Gemm", x, *graph.last("dense6", "23"), transB=1)
    graph.nodes[-1].output[0] = "answer"
    shape: list[Any] = {"p": ["n", 5, "rows", "columns"], "r": ["n", 5], "o": ["n", 15]}[name]
    side: Any = SIDES[name] if name != "p" else None
    made = helper.make_model(
        helper.make_graph(
            graph.nodes, f"{name}net",
            [helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["n", side or "height", side or "width", 3])],
            [helper.make_tensor_value_info("answer", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(value, key) for key, value in graph.constants.items()]),
        opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="extract.faces.export_nets",
        doc_string="MTCNN (Zhang et al. 2016), weights of facenet-pytorch 2.5.3 (MIT)")
    checker.check_model(made)
    return made.SerializeToString()


def largest_difference(name: str, content: bytes) -> float:
    """Compare the answers of a file of `make_net` with those of torch, on noise: the largest difference."""
    import torch

    from extract.faces import torch_nets

    noise = np.random.default_rng(0).integers(0, 256, (3, SIDES[name], SIDES[name], 3), dtype=np.uint8)
    ours = open_session(content).run(None, {"pictures": noise})[0]
    net = {"p": torch_nets.p_net, "r": torch_nets.r_net, "o": torch_nets.o_net}[name]
    with torch.inference_mode():
        theirs = net(torch_nets.weights(name), torch.from_numpy(noise).permute(0, 3, 1, 2).float())
    return float(np.abs(ours - theirs.numpy()).max())


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m extract.faces.export_nets",
                                     description="MTCNN's networks as ONNX files, from facenet-pytorch's weights.")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write to (default: where they ship)")
    arguments = parser.parse_args(argv)
    from extract.faces.torch_nets import weights

    for name in "pro":
        content = make_net(name, {key: value.numpy() for key, value in weights(name).items()})
        if (difference := largest_difference(name, content)) > NEAR:
            raise WeightsError(f"{name}net differs from facenet-pytorch's by {difference:.1e}, allowed is {NEAR}")
        write_bytes(arguments.out / f"{name}net.onnx", content)
        print(f"{arguments.out / f'{name}net.onnx'}: {len(content):,} bytes, within {difference:.1e} of torch's")


if __name__ == "__main__":
    sys.exit(main())
