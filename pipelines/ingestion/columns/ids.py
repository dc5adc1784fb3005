"""Names of series as the columns of their id give them: joined, by a template, translated."""

from __future__ import annotations

import re
import string
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.arrays import Array
from forecasting.errors import ConfigError
from pipelines.ingestion.columns.columns import encode
from pipelines.ingestion.config import IdConfig


def series_of(columns: list[Any], names: list[str], config: IdConfig) -> tuple[Array, Array]:
    """Names of the series from one or several columns, and which one each row has (-1 for none)."""
    encoded = [encode(c) for c in columns]
    if len(encoded) == 1 and not config.template and not config.rename:
        texts, codes = encoded[0]
        return np.asarray(texts.to_numpy(zero_copy_only=False), dtype=object), codes
    missing = np.zeros(len(encoded[0][1]), bool)
    radix = np.zeros(len(missing), np.int64)
    for texts, codes in encoded:
        missing |= codes < 0
        radix = radix * (len(texts) + 1) + codes + 1
    used, codes = np.unique(radix[~missing], return_inverse=True)
    parts: list[pa.Array] = []
    for texts, _ in reversed(encoded):
        parts.insert(0, texts.take(pa.array(used % (len(texts) + 1) - 1)))
        used = used // (len(texts) + 1)
    out = np.full(len(missing), -1, np.int64)
    out[~missing] = codes
    return compose(parts, names, config), out


def compose(parts: list[pa.Array], names: list[str], config: IdConfig) -> Array:
    """Names from their parts, by the template or the separator; vectorised over names."""
    texts = {}
    for name, part in zip(names, parts, strict=True):
        text = pc.utf8_trim_whitespace(part.cast(pa.string())) if config.trim else part
        renames = config.rename.get(name)
        if renames:
            text = _renamed(text, renames)
        texts[name] = text
    if not config.template:
        return _objects(pc.binary_join_element_wise(*texts.values(), config.separator))
    pieces: list[Any] = []
    for literal, field_name, spec, _ in string.Formatter().parse(config.template):
        if literal:
            pieces.append(pa.scalar(literal))
        if field_name is None:
            continue
        if field_name not in texts:
            raise ConfigError(
                f"ids.template: {field_name!r} is no column of the id; "
                f"there are: {', '.join(texts)}"
            )
        pieces.append(_padded(texts[field_name], spec or ""))
    return _objects(pc.binary_join_element_wise(*pieces, ""))


def _objects(texts: pa.Array) -> Array:
    return np.asarray(texts.to_numpy(zero_copy_only=False), dtype=object)


def _renamed(text: pa.Array, renames: dict[str, str]) -> pa.Array:
    series = pd.Series(text.to_pandas(), dtype="str")
    return pa.array(series.map(renames).fillna(series), pa.string())


def _padded(text: pa.Array, spec: str) -> pa.Array:
    if not spec:
        return text
    match = re.fullmatch(r"(?:(.)?([<>^]))?(0)?(\d+)", spec)
    if not match:
        raise ConfigError(f"ids.template: {spec!r} is no width; write it like 0>3 or <10")
    fill = match[1] or ("0" if match[3] else " ")
    pad = {"<": pc.utf8_rpad, ">": pc.utf8_lpad, "^": pc.utf8_center, None: pc.utf8_lpad}
    return pad[match[2]](text, width=int(match[4]), padding=fill)
