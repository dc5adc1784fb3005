"""What all settings have in common: frozen, each with its limits, a wrong one named by its key.

This module imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from forecasting.errors import ConfigError

Positive = Annotated[int, Field(ge=1)]
Probability = Annotated[float, Field(gt=0.0, lt=1.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Settings(BaseModel):
    """Base of all settings: immutable, and no key that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def parse(cls, values: dict[str, Any], *, at: str = "") -> Self:
        """Build from plain values; a wrong one raises `ConfigError` naming its key path."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(describe(error, cls, at)) from None

    def replace(self, **changes: Any) -> Self:
        """A validated copy with some values changed; nested models take a dict of changes.

        What was left open stays so: `given` tells.
        """
        values = self.model_dump(exclude_unset=True)
        for key, value in changes.items():
            if isinstance(value, dict) and isinstance(getattr(self, key, None), Settings):
                values[key] = {**values.get(key, {}), **value}
            else:
                values[key] = value
        return type(self).parse(values)

    @property
    def given(self) -> frozenset[str]:
        """Names of the settings that were chosen, though it be the default; None is no choice."""
        return frozenset(n for n in self.model_fields_set if getattr(self, n) is not None)


def describe(error: ValidationError, model: type[BaseModel], at: str = "") -> str:
    """All faults of a validation as one line: key path, value, and what is allowed."""
    lines = []
    for fault in error.errors():
        path = ".".join(str(part) for part in ([at] if at else []) + list(fault["loc"]))
        if fault["type"] == "extra_forbidden":
            allowed = _fields_at(model, fault["loc"][:-1])
            lines.append(f"{path}: unknown key; allowed here: {', '.join(allowed)}")
        elif fault["type"] == "value_error":
            message = str(fault.get("ctx", {}).get("error", fault["msg"]))
            lines.append(f"{path}: {message}" if path else message)
        else:
            text = repr(fault["input"])
            text = text if len(text) < 80 else text[:77] + "..."
            lines.append(f"{path} = {text}: {fault['msg']}")
    return "; ".join(lines)


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    current: Any = model
    for part in location:
        if not (isinstance(current, type) and issubclass(current, BaseModel)):
            return []
        info = current.model_fields.get(str(part))
        if info is None:
            return []
        options = getattr(info.annotation, "__args__", (info.annotation,))
        current = next(
            (o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None
        )
    if isinstance(current, type) and issubclass(current, BaseModel):
        return sorted(current.model_fields)
    return []


def among(table: Mapping[str, Any]) -> Callable[[str], str]:
    """A validator of names: those of a table, whoever has added to it."""

    def known(name: str) -> str:
        if name not in table:
            *first, last = (repr(key) for key in table)
            expected = f"{', '.join(first)} or {last}"
            raise PydanticCustomError("literal_error", f"Input should be {expected}")
        return name

    return known
