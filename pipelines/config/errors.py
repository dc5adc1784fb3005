"""What pydantic found wrong in a config, in words for who writes one."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from pipelines.config.keys import meant, models_in

# A few kinds of mistake, in plainer words than pydantic's.
PLAINER = {
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_short": "text of at least {min_length} characters",
    "model_type": "a group of keys",
    "model_attributes_type": "a group of keys",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "string_type": "text",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
}


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[str]:
    """One line for each problem pydantic found: key path, value, what is allowed."""
    lines: dict[str, None] = {}
    for problem in error.errors():
        location = [part for part in problem["loc"] if not _is_tag(part)]
        path = ".".join([prefix, *map(str, location)] if prefix else map(str, location))
        message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        message = PLAINER.get(problem["type"], "{message}").format(
            message=message, **problem.get("ctx", {})
        )
        if problem["type"] == "extra_forbidden":
            allowed = _keys_at(model, location[:-1])
            near = meant(str(location[-1]), model, allowed)
            hint = f"did you mean {near!r}? " if near else ""
            listing = ", ".join(allowed)
            lines[f"{path}: unknown key; {hint}allowed: {listing}"] = None
        elif problem["type"] == "missing":
            lines[f"{path}: required, but not given"] = None
        elif problem["type"] == "value_error":
            lines[f"{path}: {message}" if path else message] = None
        else:
            value = repr(problem["input"])
            value = value if len(value) <= 60 else value[:57] + "..."
            lines[f"{path}: {value} is not allowed; it should be {message}"] = None
    return list(lines)


def _is_tag(part: Any) -> bool:
    """Whether pydantic put the name of a union's branch or function into the path."""
    return isinstance(part, str) and ("[" in part or "(" in part)


def _keys_at(model: type[BaseModel], location: list[Any]) -> list[str]:
    """Names of the keys allowed at a place of the settings tree."""
    kind: Any = model
    for part in location:
        inner = models_in(kind)
        fields = next((m.model_fields for m in inner if part in m.model_fields), None)
        kind = fields[part].annotation if fields is not None else kind
    return [
        name
        for inner in models_in(kind)
        for name, field in inner.model_fields.items()
        if not field.exclude
    ]
