"""The keys of a config: every dotted path there is, and the one that a misspelt key may mean."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


def models_in(kind: Any) -> list[type[BaseModel]]:
    """The groups of keys that an annotation allows."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    if get_origin(kind) in (Union, types.UnionType, Annotated, dict, tuple, list):
        return [m for part in get_args(kind) for m in models_in(part)]
    return []


def paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted paths of all keys below a group, groups before what is in them."""
    for name, field in model.model_fields.items():
        if field.exclude:
            continue
        path = f"{prefix}{name}"
        yield path
        # What stands in lists and under free names has no one path.
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from paths(field.annotation, f"{path}.")


def meant(key: str, model: type[BaseModel], near: list[str]) -> str | None:
    """What a misspelt or misplaced key may mean: one beside it, else one anywhere.

    Parameters
    ----------
    near : the keys that are allowed where it stands.
    """
    close = difflib.get_close_matches(key, near, n=1, cutoff=0.6)
    if close:
        return close[0]
    by_last = {path.rpartition(".")[2]: path for path in reversed(list(paths(model)))}
    close = difflib.get_close_matches(key, by_last, n=1, cutoff=0.85)
    return by_last[close[0]] if close else None
