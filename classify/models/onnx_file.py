"""An .onnx file read without any library: its card, and whether it is safe to hand to ONNX Runtime.

The file is a protobuf message (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto); what is needed of it are the
numbers of some fields. A file that refers to other files, brings code of its own, or could run for ever is refused
before anything is loaded.
"""
from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Iterator, NamedTuple

import numpy as np

from pipeline.errors import CheckpointError

MOST_BYTES = 2 ** 31 - 1  # of a protobuf message
CARD_KEY = "card"
# Fields by message, as in onnx.proto.
MODEL_GRAPH, MODEL_OPSET, MODEL_METADATA, MODEL_TRAINING, MODEL_FUNCTIONS = 7, 8, 14, 20, 25
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_SPARSE = 1, 5, 15
NODE_KIND, NODE_ATTRIBUTE, NODE_DOMAIN = 4, 5, 7
ATTRIBUTE_TENSOR, ATTRIBUTE_TENSORS, ATTRIBUTE_OTHERS = 5, 10, (6, 11, 22, 23)  # others: graphs and sparse tensors
TENSOR_TYPE, TENSOR_RAW, TENSOR_EXTERNAL, TENSOR_LOCATION = 2, 9, 13, 14
FLOATS: dict[int, Any] = {1: np.float32, 10: np.float16, 11: np.float64}
STANDARD = (b"", b"ai.onnx")
ENDLESS = (b"Loop", b"Scan", b"If")  # of no network that training offers


class Field(NamedTuple):
    """A field of a message. value: its bytes, or the number where it is one. start, end: where it stands."""

    number: int
    value: Any
    start: int
    end: int


def read_onnx_card(path: Path) -> dict[str, Any]:
    """Read the card of an .onnx file of this project; its values are not checked.

    Raises:
        CheckpointError: the file is missing, damaged or of someone else.
    """
    return _parsed(path)[0]


def read_onnx(path: Path) -> tuple[dict[str, Any], bytes]:
    """Read an .onnx file of this project and check that it is safe to load.

    Returns:
        Its card, as `read_onnx_card` does, and the content of the file.

    Raises:
        CheckpointError: also where the file is not safe, or not the one that its card was written for.
    """
    card, fields, content = _parsed(path)
    try:
        _check(fields)
    except (ValueError, IndexError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from None
    exported = card.get("exported")
    if not isinstance(exported, dict) or digest(fields, content) != exported.get("graph_sha256"):
        raise CheckpointError(f"{path} is not what its card was written for (changed or damaged): export it again")
    return card, content


def _parsed(path: Path) -> tuple[dict[str, Any], list[Field], bytes]:
    content = _content(path)
    try:
        fields = list(_fields(content))
        metadata = dict(_pair(field.value) for field in fields if field.number == MODEL_METADATA)
    except (ValueError, IndexError, TypeError) as error:
        raise CheckpointError(f"{path} is not an .onnx file, or is cut or damaged ({error}): copy it again") from None
    if CARD_KEY not in metadata:
        raise CheckpointError(f"{path} has no model card, so it is not of this project: `python -m classify.export "
                              "model.safetensors` makes an .onnx file that has one")
    try:
        card = json.loads(metadata[CARD_KEY])
    except ValueError as error:
        raise CheckpointError(f"the model card of {path} is damaged ({error}): export it again") from None
    if not isinstance(card, dict):
        raise CheckpointError(f"the model card of {path} is no JSON object: export it again")
    return card, fields, content


def digest(fields: list[Field], content: bytes) -> str:
    """Take the SHA-256 of all that a model computes: the file without its metadata."""
    found = hashlib.sha256()
    for field in fields:
        if field.number != MODEL_METADATA:
            found.update(memoryview(content)[field.start:field.end])
    return found.hexdigest()


def digest_of(content: bytes) -> str:
    """`digest` of the content of an .onnx file."""
    return digest(list(_fields(content)), content)


def replace_card(content: bytes, card: dict[str, Any]) -> bytes:
    """Return the content of an .onnx file with another card and no other metadata; what it computes stays as it is."""
    kept = b"".join(content[field.start:field.end] for field in _fields(content) if field.number != MODEL_METADATA)
    entry = _bytes_field(1, CARD_KEY.encode()) + _bytes_field(2, json.dumps(card).encode())
    return kept + _bytes_field(MODEL_METADATA, entry)


def _bytes_field(number: int, value: bytes) -> bytes:
    return _number(number << 3 | 2) + _number(len(value)) + value


def _number(value: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, the lowest first."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes(found + bytes([value]))


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise CheckpointError(f"no model at {path}: `python -m classify.export model.safetensors` makes one; or "
                                  "name another with --model")
        if (size := path.stat().st_size) > MOST_BYTES:
            raise CheckpointError(f"{path} has {size / 1e9:.1f} GB, and .onnx files that are whole have at most 2.1 GB")
        with open(path, "rb") as file:
            start = file.read(2)
            # Its first field is the version, a small number; what begins otherwise is not worth reading.
            if len(start) < 2 or start[0] != 0x08 or not 0 < start[1] < 100:
                raise CheckpointError(f"{path} is not an .onnx file")
            file.seek(0)
            return file.read()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None


def _fields(message: bytes | memoryview) -> Iterator[Field]:
    """Yield the fields of a protobuf message. Raises ValueError and IndexError where it is not one."""
    message, at = memoryview(message), 0
    while at < len(message):
        start = at
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        value: Any
        if kind == 0:
            value, at = _varint(message, at)
        elif kind in (1, 5):
            value, at = None, at + (8 if kind == 1 else 4)
        elif kind == 2:
            length, at = _varint(message, at)
            value, at = message[at:at + length], at + length
        else:
            raise ValueError(f"unknown kind of field at byte {start}")
        if at > len(message) or number == 0:
            raise ValueError(f"it ends before its time at byte {start}")
        yield Field(number, value, start, at)


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number is too long")


def _pair(entry: memoryview) -> tuple[str, str]:
    """Key and value of a StringStringEntryProto."""
    found = {field.number: bytes(field.value).decode() for field in _fields(entry)}
    return found.get(1, ""), found.get(2, "")


def _check(fields: list[Field]) -> None:
    """Raise ValueError for what is not safe to load."""
    graphs = [field.value for field in fields if field.number == MODEL_GRAPH]
    if len(graphs) != 1:
        raise ValueError(f"it holds {len(graphs)} networks instead of one")
    for field in fields:
        if field.number in (MODEL_TRAINING, MODEL_FUNCTIONS):
            raise ValueError("it brings functions of its own")
        if field.number == MODEL_OPSET:
            _check_domain(bytes(next((f.value for f in _fields(field.value) if f.number == 1), b"")))
    for field in _fields(graphs[0]):
        if field.number == GRAPH_NODE:
            _check_node(field.value)
        elif field.number == GRAPH_INITIALIZER:
            _check_tensor(field.value)
        elif field.number == GRAPH_SPARSE:
            raise ValueError("it holds sparse weights")


def _check_domain(domain: bytes) -> None:
    if domain not in STANDARD:
        raise ValueError(f"it needs operators of {domain[:40].decode(errors='replace')!r}, which are not ONNX's own")


def _check_node(node: memoryview) -> None:
    for field in _fields(node):
        if field.number == NODE_DOMAIN:
            _check_domain(bytes(field.value))
        elif field.number == NODE_KIND and bytes(field.value) in ENDLESS:
            raise ValueError(f"it holds {bytes(field.value).decode()}, which may run for ever")
        elif field.number == NODE_ATTRIBUTE:
            for part in _fields(field.value):
                if part.number in ATTRIBUTE_OTHERS:
                    raise ValueError("it holds a network inside a network")
                if part.number in (ATTRIBUTE_TENSOR, ATTRIBUTE_TENSORS):
                    _check_tensor(part.value)


def _check_tensor(tensor: memoryview) -> None:
    found = {field.number: field.value for field in _fields(tensor)}
    if found.get(TENSOR_LOCATION) or TENSOR_EXTERNAL in found:
        raise ValueError("it keeps its weights in other files, which are not read")
    kind = FLOATS.get(found.get(TENSOR_TYPE, 0))
    if kind and TENSOR_RAW in found and not np.isfinite(np.frombuffer(found[TENSOR_RAW], kind)).all():
        raise ValueError("a weight is not a finite number")
