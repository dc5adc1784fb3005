"""Keys that stand twice in one JSON object: of two values one would be lost without a word."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

from serving.errors import RequestError, show
from serving.reading.pairs import count_pairs

# A text, a blank and a colon: keys as few write them.
_SPACED = re.compile(rb'"[ \t\r\n]+:')
_BLANKS = (b" ", b"\n", b"\t", b"\r")


class _TwiceError(ValueError):
    """Carries the key."""


def refuse_twice(body: bytes, found: Any) -> None:
    """Refuse a body in which an object names a key twice.

    In the text every key is a quote and a colon, and so are a few texts, such as ``":a"``; where no
    more stand there than keys were decoded, none was lost. Else the body is read once more.

    Parameters
    ----------
    body : JSON. found : what was decoded of it.

    Raises
    ------
    RequestError : 400 that names the key.
    """
    most = count_pairs(body, b'":')
    if any(blank in body for blank in _BLANKS):
        most += sum(1 for _ in _SPACED.finditer(body))
    if _has_keys(found, most):
        return
    try:
        json.loads(body, object_pairs_hook=_once, parse_int=_nothing, parse_float=_nothing)
    except _TwiceError as error:
        raise RequestError(
            400,
            "malformed_json",
            f"the key {show(error.args[0])} stands twice in one object: which of its values is "
            "meant is not guessed at",
        ) from None
    except RecursionError:
        raise RequestError(400, "malformed_json", "the body is nested too deep") from None


def _has_keys(found: Any, most: int) -> bool:
    """Whether all objects together have so many keys; those behind numbers in a list count not."""
    objects: list[Any] = [found]
    lists: list[Any] = []
    count = 0
    while count < most and (objects or lists):
        value = objects.pop() if objects else lists.pop()
        if type(value) is dict:
            count += len(value)
            value = value.values()
        elif type(value) is not list or not value or type(value[0]) not in (dict, list):
            continue
        for part in value:
            if type(part) is dict:
                objects.append(part)
            elif type(part) is list:
                lists.append(part)
    return count >= most


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) == len(pairs):
        return
    names = sorted(name for name, _ in pairs)
    raise _TwiceError(next(a for a, b in pairwise(names) if a == b))


def _nothing(text: str) -> None:
    return None
