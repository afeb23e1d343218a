"""One frozen dataclass of options per function; flags, help texts, defaults and the run record derive from it.

    @dataclass(frozen=True)
    class FrameOptions:
        every: float = option(3.0, "seconds between two sampled frames")

Flags carry the field's name with dashes (`--every`, `--min-face`). A `bool` becomes `--flag/--no-flag`.
"""
from __future__ import annotations

import argparse
import dataclasses
import math
import types
import typing
from typing import Any, Sequence, TypeVar

from pipeline.errors import OptionsError

T = TypeVar("T")


def option(default: Any, help: str, choices: Sequence[Any] | None = None, remembered: bool = True) -> Any:
    """Define a field of an options dataclass.

    Args:
        default: value where the option is not named.
        help: the sentence that `--help` shows, units included.
        choices: the values allowed, None for any.
        remembered: whether a run remembers the option once it was named: False for what changes no result.
    """
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices, "remembered": remembered})


def add_flags(parser: argparse.ArgumentParser, *classes: type) -> None:
    """Add one flag per field of each options dataclass. Only flags that are given appear among the parsed arguments."""
    for cls in classes:
        hints = typing.get_type_hints(cls)
        group = parser.add_argument_group(cls.__name__)
        for field in dataclasses.fields(cls):
            kind = _plain_type(hints[field.name])
            shown = field.metadata["help"] + ("" if field.default is None else f" (default {field.default})")
            flag = "--" + field.name.replace("_", "-")
            if kind is bool:
                group.add_argument(flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS,
                                   help=f"{shown[:shown.rfind(' (default')]} (default "
                                        f"{'yes' if field.default else 'no'})".replace("%", "%%"))
            else:
                group.add_argument(flag, type=kind, default=argparse.SUPPRESS, choices=field.metadata["choices"],
                                   metavar=None if field.metadata["choices"] else kind.__name__.upper(),
                                   help=shown.replace("%", "%%"))


def from_flags(cls: type[T], arguments: argparse.Namespace) -> T:
    """Build an options dataclass from parsed flags; what was not given has its default.

    Raises:
        OptionsError: the dataclass refuses a value (its `__post_init__` raises ValueError).
    """
    return from_values(cls, vars(arguments))


def from_values(cls: type[T], values: dict[str, Any]) -> T:
    """Build an options dataclass from those of `values` that are fields of it.

    Raises:
        OptionsError: the dataclass refuses a value (its `__post_init__` raises ValueError).
    """
    known = {field.name for field in dataclasses.fields(typing.cast(Any, cls))}
    try:
        return cls(**{name: value for name, value in values.items() if name in known})
    except ValueError as error:
        raise OptionsError(str(error)) from None


def as_record(options: Any) -> dict[str, Any]:
    """The options as a plain dict, for checkpoints, run records and comparisons."""
    return dataclasses.asdict(options)


def from_record(cls: type[T], record: dict[str, Any]) -> T:
    """The reverse of `as_record`. Raises OptionsError.

    Unknown fields are an error, so that an old record never half-applies; so are values of another type than the
    field's, numbers that are not finite, and what the dataclass refuses.
    """
    known = {field.name for field in dataclasses.fields(typing.cast(Any, cls))}
    if unknown := sorted(set(record) - known):
        raise OptionsError(f"{cls.__name__} has no option {unknown}; it has {sorted(known)}")
    hints = typing.get_type_hints(cls)
    choices: dict[str, Any] = {field.name: field.metadata.get("choices")
                               for field in dataclasses.fields(typing.cast(Any, cls))}
    for name, value in record.items():
        if not _is_a(value, hints[name]):
            raise OptionsError(f"{name} of {cls.__name__} must be of type {_plain_type(hints[name]).__name__}, got "
                               f"{str(value)[:40]!r}")
        if choices[name] and value is not None and value not in choices[name]:
            raise OptionsError(f"{name} must be one of {', '.join(map(str, choices[name]))}, got {str(value)[:40]!r}")
    try:
        return cls(**record)
    except ValueError as error:
        raise OptionsError(str(error)) from None


def _is_a(value: Any, hint: Any) -> bool:
    kind = _plain_type(hint)
    if value is None:
        return kind is not hint
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _plain_type(hint: Any) -> type:
    """`float | None` is a float on the command line."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return next(a for a in typing.get_args(hint) if a is not type(None))
    return hint
