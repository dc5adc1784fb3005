"""Columns that say of each row in which unit its value is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.arrays import Array
from forecasting.errors import DataError
from pipelines.ingestion.raw import Raw, is_text, shown

_UNITS = re.compile(
    r"(?i)(?:(?:measure(?:ment)?|value|base|obs|sales|price|qty|quantity)[ _-]?)?"
    r"(?:units?|uom|unit[ _-]of[ _-]measure(?:ment)?|currency|curr|ccy|measure"
    r"|(?:currency|unit|uom)[ _-]?(?:code|name|type|cd|id)|meins?|waers|me"
    r"|(?:mengen|mass|maß)?einheit|w[aä]hrung|unit[eé]|devise|unidad|moneda|valuta"
    r"|unit[aà](?:[ _-]di[ _-]misura)?)"
)
_FACTORS = re.compile(
    r"(?i)(?:unit[ _-]?)?mult(?:iplier)?|scale(?:[ _-]?factor)?|power[ _-]?code|unit[ _-]?scale"
)
# Words that are units whatever their column is called; of one letter, beside longer ones only.
_WORDS = """
kg g mg t lb lbs oz ton tons tonne tonnes kilogram kilograms gram grams kilo kilos pound
pounds ounce ounces quintal cwt st mt kt l ml cl dl hl litre litres liter liters gal
gallon gallons qt pint pints barrel barrels bbl m3 m³ cm3 ft3 mcf bcf m cm mm km ft in
inch inches yd yard yards mi mile miles metre metres meter meters m2 m² km2 km² ha acre
acres sqft sqm w kw mw gw tw wh kwh mwh gwh twh j kj mj gj tj pj btu mmbtu therm therms
cal kcal pa hpa kpa mpa bar mbar psi a ma ka v mv kv hz khz mhz ghz va kva mva s ms us sec
secs second seconds min mins minute minutes h hr hrs hour hours c f k °c °f celsius
fahrenheit kelvin degc degf b kb mb gb tb pb kib mib gib tib byte bytes bit bits kbit mbit
gbit kbps mbps gbps mg/l µg/m3 µg/m³ ug/m3 ppm ppb m/s km/h mph kn knots l/s m3/s m³/s %
percent pct bp bps ‰ eur usd gbp chf jpy cny inr aud cad nzd sek nok dkk pln czk huf ron
bgn try rub uah brl mxn ars clp cop pen zar ngn kes egp ils aed sar krw twd hkd sgd myr
thb idr php vnd pkr bdt lkr btc eth € $ £ ¥ ₹ k€ k$ m€ m$ bn thousand thousands million
millions billion billions mn mio tsd pc pcs pce piece pieces ea each unit units box boxes
case cases pallet pallets pack packs carton cartons crate crates dozen dozens dz stk stück
karton
"""
_KNOWN = frozenset(_WORDS.split())
# Different texts that are units still; more are names of something else.
MOST = 12
# Units that are named where series have their own; and rows that tell free text.
_NAMED, _LOOKED_AT = 6, 10_000


def names_units(name: str) -> bool:
    """Whether a column's name says that it holds units, currencies or multipliers."""
    return any(form.fullmatch(name.strip()) for form in (_UNITS, _FACTORS))


def unit_columns(names: Sequence[str], sample: pa.Table) -> set[str]:
    """Columns that hold units: by their name, or by each of their first values.

    Parameters
    ----------
    names : of all columns. sample : their first rows.
    """
    units = {name for name in names if names_units(name)}
    for name, column in zip(names, sample.columns, strict=False):
        if _are_words(column):
            units.add(name)
    return units


def units_aside(
    raw: Raw, aside: Sequence[str], ids: Array, codes: Array, y: Array
) -> dict[str, Any]:
    """What a column of units that is not used says of the values, for the report.

    Parameters
    ----------
    aside : columns that are not used. ids : [N]; codes : [T] the series of each row, -1 for none;
        y : [T] values, NaN where there is none, which has no unit.

    Raises
    ------
    DataError : a series has values in two units, which are no values of one series.
    """
    facts = {}
    for name in aside:
        if name not in raw.names:
            continue
        column = raw.column(name, "unit")
        if not (_are_units(name, column) if names_units(name) else _are_words(column)):
            continue
        column = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        column = column.combine_chunks()
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        unit = np.asarray(pc.fill_null(column.indices, -1).to_numpy(zero_copy_only=False))
        known = np.flatnonzero((unit >= 0) & (codes >= 0) & ~np.isnan(y))
        if not len(known):
            continue
        words = [shown(str(v)) for v in column.dictionary.to_pylist()]
        _, first, owner = np.unique(codes[known], return_index=True, return_inverse=True)
        other = np.flatnonzero(unit[known] != unit[known[first]][owner])
        if len(other):
            at, since = known[other[0]], known[first[owner[other[0]]]]
            one, two = words[unit[since]], words[unit[at]]
            raise DataError(
                f"column {name} is not used, but says that series {ids[codes[at]]!r} has values in "
                f"two units, {one} (row {since + 1}) and {two} (row {at + 1}): say what each is "
                f"worth, values: {{unit: {{column: {name}, scale: {{{one}: 1, {two}: 1}}}}}} with "
                f"the right factors, or make a series of each: id: [..., {name}]"
            )
        units = np.unique(unit[known])
        if len(units) > 1:
            some = ", ".join(words[u] for u in units[:_NAMED])
            facts["units"] = f"series are in several units, by column {name}: {some}"
    return facts


def _are_units(name: str, column: pa.ChunkedArray) -> bool:
    """Whether the values of a column are units, and not a number of units that were sold."""
    kind = column.type
    if is_text(kind) or pa.types.is_dictionary(kind):
        few = len(column.unique().drop_null()) <= MOST
        return few and (_UNITS.fullmatch(name.strip()) is not None or _powers(column))
    if _FACTORS.fullmatch(name.strip()) is None:
        return False
    return (pa.types.is_integer(kind) or pa.types.is_floating(kind)) and _powers(column)


def _are_words(column: pa.ChunkedArray) -> bool:
    """Whether a column holds nothing but units, whatever it is called."""
    words = _words(column)
    return _KNOWN.issuperset(words) and any(len(word) > 1 for word in words)


def _words(column: pa.ChunkedArray) -> set[str]:
    """The texts of a column, small; none where they are no few."""
    kind = column.type
    if not (is_text(kind) or (pa.types.is_dictionary(kind) and is_text(kind.value_type))):
        return set()
    # Text that goes on being different is free text: the first rows say so.
    if len(column.slice(0, _LOOKED_AT).unique()) > MOST or len(column.unique()) > MOST:
        return set()
    words = (str(word).strip().casefold() for word in column.unique().drop_null().to_pylist())
    return {word for word in words if word}


def _powers(column: pa.ChunkedArray) -> bool:
    """Whether all values are powers of ten, or their exponents in threes."""
    try:
        values = np.unique(np.array([float(v) for v in column.unique().drop_null().to_pylist()]))
    except (TypeError, ValueError):
        return False
    exponents = np.isin(values, [-6, -3, 0, 3, 6, 9, 12]).all()
    return bool(exponents or ((values > 0).all() and (np.log10(values) % 1 == 0).all()))
