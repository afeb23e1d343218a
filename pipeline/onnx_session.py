"""A session of ONNX Runtime, as every network here is run: one thread, nothing printed, nothing read but the bytes."""
from __future__ import annotations

from typing import Any

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def open_session(model: bytes, device: str = "cpu") -> Any:
    """Load a network and return its onnxruntime.InferenceSession.

    Args:
        model: content of an .onnx file. Given as bytes, it cannot refer to files beside it.
        device: "cpu", or "cuda" or "cuda:1" where `cuda_is_there`.

    Raises:
        Exception: of ONNX Runtime's own kinds, for what it cannot load.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # A worker a core: more threads only wait for each other, and a thread that spins takes the core from another one.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong is raised; its own lines would stand between ours
    providers: list[Any] = [CPU]
    if device != "cpu":
        providers.insert(0, (CUDA, {"device_id": int(device.partition(":")[2] or 0)}))
    return onnxruntime.InferenceSession(model, options, providers=providers)


def cuda_is_there() -> bool:
    """Say whether the ONNX Runtime that is installed computes on NVIDIA GPUs (the package onnxruntime-gpu)."""
    import onnxruntime

    return CUDA in onnxruntime.get_available_providers()
