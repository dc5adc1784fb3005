"""Settings that are proposed where a table's columns leave a doubt, as text for the config."""

from __future__ import annotations

from typing import Any

import yaml

from forecasting.errors import DataError

# What stands in a proposal where a person has to say which column.
OPEN = "…"


class MappingError(DataError):
    """The roles of the columns cannot be told.

    Attributes
    ----------
    roles : settings that make it right, if the proposal is.
    proposal : the same as text that can be pasted into the config, with a note on what else y may
        be.
    """

    def __init__(
        self, message: str, roles: dict[str, Any], others: list[str] | None = None
    ) -> None:
        super().__init__(message)
        self.roles = roles
        self.proposal = _pasted(roles)
        if others:
            self.proposal += f"  # or {', '.join(others)}"

    @property
    def usable(self) -> bool:
        """Whether the proposal names a column wherever one is wanted."""
        lists = (v if isinstance(v, list | tuple) else [v] for v in self.roles.values())
        return not any(value == OPEN for values in lists for value in values)


def short(ds: tuple[str, ...]) -> Any:
    """One name alone, several as a list."""
    return ds[0] if len(ds) == 1 else list(ds)


def flow(value: Any) -> str:
    """A value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("...\n").strip()


def in_braces(roles: dict[str, Any]) -> str:
    """Settings as they may stand behind ``data:``, in one line."""
    return "{" + ", ".join(f"{key}: {flow(value)}" for key, value in roles.items()) + "}"


def _pasted(values: dict[str, Any]) -> str:
    lines = [f"  {key}: {flow(value)}" for key, value in values.items()]
    return "\n".join(["data:", *lines])
