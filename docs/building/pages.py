"""The pages of the site that are made, not written: references and the catalogue of codes.

python -m docs.building.pages FOLDER     writes them, and the JSON Schema of a config, into a folder
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from pipelines import cli
from pipelines.config import ExperimentConfig
from pipelines.config.keys import models_in
from pipelines.terminal.codes import KINDS, codes

SCHEMA = "reference/config.schema.json"


def made() -> dict[str, str]:
    """Every page that is made, by its place in the site."""
    return {
        "reference/config.md": config_page(),
        SCHEMA: schema(),
        "reference/commands.md": commands_page(),
        "reference/http.md": http_page(),
        "reference/python.md": python_page(),
        "faq.md": codes_page(),
    }


def schema() -> str:
    """The JSON Schema of a config file, which editors complete and check by."""
    values = ExperimentConfig.model_json_schema()
    for _, model in _sections(ExperimentConfig):
        _allow_short_forms(model, values if model is ExperimentConfig else values["$defs"])
    values = {"$schema": "https://json-schema.org/draft/2020-12/schema", **values}
    values["title"] = "A Gatecast experiment"
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def _allow_short_forms(model: type[BaseModel], values: dict[str, Any]) -> None:
    """A text may stand for a list of one, wherever a class reads it so before it checks."""
    own = values.get(model.__name__, values).get("properties", {})
    for found in model.__pydantic_decorators__.field_validators.values():
        if found.info.mode != "before":
            continue
        for name in found.info.fields:
            if name in own:
                kinds = own[name].pop("anyOf", None) or [
                    {k: own[name].pop(k) for k in ("type", "items", "$ref") if k in own[name]}
                ]
                short = {"type": ["string", "number"]}
                for kind in kinds:
                    if "items" in kind:
                        kind["items"] = {"anyOf": [kind["items"], short]}
                own[name]["anyOf"] = [*kinds, short]


def config_page() -> str:
    """Every key of a config, section by section."""
    lines = [
        "# Every key of a config",
        "",
        "Made from the classes that read a config. An editor completes and checks the keys by the "
        "[JSON Schema](config.schema.json): put",
        "",
        "```yaml",
        "# yaml-language-server: $schema=config.schema.json",
        "```",
        "",
        "into the first line of a config, with the path or address of that file.",
        "",
    ]
    for path, model in _sections(ExperimentConfig):
        lines += [f"## {f'`{path}`' if path else 'At the top'}", ""]
        if doc := inspect.getdoc(model):
            lines += [_prose(doc), ""]
        lines += ["| key | kind | default | what it is |", "|---|---|---|---|"]
        for name, field in model.model_fields.items():
            if field.exclude:
                continue
            inner = [m for m in models_in(field.annotation) if m is field.annotation]
            default = "" if inner else _default(field)
            what = "a section, below" if inner else field.description or ""
            limits = "; ".join(filter(None, [_limits(field), _cell(what)]))
            lines.append(f"| `{name}` | {_kind(field.annotation)} | {default} | {limits} |")
        lines.append("")
    return "\n".join(lines)


def commands_page() -> str:
    """Every command with its arguments and options."""
    lines = [
        "# Every command",
        "",
        "Made from the commands themselves. What all of them have in common: "
        "[The commands](../commands.md).",
        "",
    ]
    for name, command in _leaves(typer.main.get_command(cli.build())):
        usage = [p.metavar or p.name.upper() for p in command.params if _is_argument(p)]
        lines += [f"## gatecast {name}", "", "```console"]
        lines += [" ".join(["$ gatecast", name, *usage, "[OPTIONS]"]), "```", ""]
        lines += [_prose(inspect.cleandoc(command.help or "")), ""]
        rows = [_option_row(p) for p in command.params if not getattr(p, "hidden", False)]
        shared = ("--json", "--quiet", "--help")
        rows = [row for row in rows if row and not any(f"`{s}`" in row for s in shared)]
        if rows:
            lines += ["| | what it is |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def http_page() -> str:
    """Every route of the service, from its OpenAPI document."""
    document = _openapi()
    lines = [
        "# Every route",
        "",
        "Made from the OpenAPI document that the service answers at `/openapi.json`; its page "
        "`/docs` lets one try them. [The forecast service](../serving.md) tells of it in order.",
        "",
    ]
    for path, operations in sorted(document["paths"].items()):
        shared = operations.get("parameters", [])
        for method, operation in operations.items():
            if method == "parameters":
                continue
            lines += [f"## {method.upper()} {path}", ""]
            lines += [operation.get("summary", ""), "", operation.get("description", ""), ""]
            for one in [*shared, *operation.get("parameters", [])]:
                said = one.get("description", "")
                lines.append(f"- `{one['name']}` in the {one['in']} {said}".rstrip())
            body = operation.get("requestBody", {}).get("content", {})
            if body:
                lines += ["", f"Takes {', '.join(f'`{kind}`' for kind in body)}.", ""]
            lines += ["", "| status | what |", "|---|---|"]
            for status, answer in operation.get("responses", {}).items():
                lines.append(f"| {status} | {_cell(answer.get('description', ''))} |")
            lines.append("")
    return "\n".join(lines)


def python_page() -> str:
    """The public names of the library and the client, with their docstrings."""
    import forecasting
    from forecasting import datasets, interop
    from serving import client

    lines = [
        "# Every public name in Python",
        "",
        "Made from the docstrings. `from forecasting import Forecaster` is a promise; the others "
        "may change with a line in the changelog.",
        "",
    ]
    groups = {
        "forecasting": [(name, getattr(forecasting, name)) for name in forecasting.__all__],
        "forecasting.datasets": [(n, getattr(datasets, n)) for n in datasets.__all__],
        "forecasting.interop": [(n, getattr(interop, n)) for n in interop.__all__],
        "serving.client": [("Client", client.Client), ("Forecasts", client.Forecasts)],
    }
    for module, names in groups.items():
        for name, value in names:
            lines += _object(f"{module}.{name}", value, "##")
    return "\n".join(lines)


def codes_page() -> str:
    """Every code, what it means and what to do."""
    lines = [
        "# Error codes",
        "",
        "Every code that an answer of the service, a report or a command may hold. In a terminal: "
        "`gatecast docs CODE`.",
        "",
    ]
    for kind, title in KINDS.items():
        lines += [f"## {title}", ""]
        for one in codes():
            if one.kind == kind:
                mark = one.code if kind == "command" else f"{kind}-{one.code}"
                lines += [f"### `{one.code}` {{ #{mark} }}", "", one.means, ""]
                lines += [f"**What to do.** {one.cure}", ""]
    return "\n".join(lines)


def _sections(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    yield path, model
    for name, field in model.model_fields.items():
        if field.exclude:
            continue
        for inner in models_in(field.annotation):
            below = f"{path}.{name}" if path else name
            many = inner is not field.annotation
            yield from _sections(inner, f"{below}.…" if many else below)


def _kind(annotation: Any) -> str:
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    text = re.sub(r"\b(?:typing|types|pathlib|collections\.abc)\.", "", text)
    text = re.sub(r"Annotated\[(\w+), .*?\)\]\)\]|Annotated\[(\w+), .*?\)\]", r"\1\2", text)
    text = re.sub(r"\b[a-z_]+(?:\.[a-z_]+)+\.(\w+)", r"\1", text)
    text = re.sub(r"Literal\[([^\]]*)\]", lambda m: " or ".join(m[1].split(", ")), text)
    text = text.replace(" | None", "").replace("'", "")
    return f"`{_cell(text)}`" if len(text) < 120 else "see its section"


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is PydanticUndefined:
        return ""
    if value is None:
        return "left open"
    return f"`{_cell(json.dumps(_plain(value), ensure_ascii=False))}`"


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _limits(field: Any) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [
        f"{sign} {getattr(limit, key)}"
        for limit in field.metadata
        for key, sign in signs.items()
        if getattr(limit, key, None) is not None
    ]
    return ", ".join(found)


def _leaves(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if getattr(command, "hidden", False):
            continue
        if hasattr(command, "commands"):
            yield from _leaves(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def _is_argument(parameter: Any) -> bool:
    return getattr(parameter, "param_type_name", "") == "argument"


def _option_row(parameter: Any) -> str:
    if _is_argument(parameter):
        name = parameter.metavar or parameter.name.upper()
        return f"| `{_cell(name)}` | {_cell(parameter.help or '')} |"
    names = [*parameter.opts, *parameter.secondary_opts]
    shown = ", ".join(f"`{name}`" for name in names)
    metavar = f" `{_cell(parameter.metavar)}`" if parameter.metavar else ""
    return f"| {shown}{metavar} | {_cell(parameter.help or '')} |"


def _openapi() -> dict[str, Any]:
    """The document as the service sends it, of a service without a model."""
    from serving.routes import openapi
    from serving.routes.table import ROUTES
    from serving.settings import ServingSettings

    class Empty:
        settings = ServingSettings.read({"GATECAST_MODELS": "NAME"})
        routes = ROUTES
        models = SimpleNamespace(keepers={})

        def __getattr__(self, name: str) -> Any:
            return None

    return openapi.document(Empty())  # type: ignore[arg-type]


def _object(name: str, value: Any, level: str) -> list[str]:
    lines = [f"{level} `{name}`", ""]
    signature = _signature(value)
    if signature:
        lines += ["```python", f"{name.rpartition('.')[2]}{signature}", "```", ""]
    if doc := inspect.getdoc(value):
        lines += [_prose(doc), ""]
    if inspect.isclass(value):
        for inner, member in vars(value).items():
            if inner.startswith("_") or inner.startswith("model_"):
                continue
            member = getattr(value, inner)
            if callable(member) and inspect.getdoc(member):
                lines += _object(f"{name.rpartition('.')[2]}.{inner}", member, f"{level}#")
    return lines


def _signature(value: Any) -> str:
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    parts = [_short(str(one)) for name, one in signature.parameters.items() if name != "self"]
    kinds = [one.kind for name, one in signature.parameters.items() if name != "self"]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        parts.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    back = signature.return_annotation
    end = "" if back is inspect.Signature.empty else f" -> {_short(str(back))}"
    line = f"({', '.join(parts)}){end}"
    return line if len(line) <= 88 else "(\n    " + ",\n    ".join(parts) + f",\n){end}"


def _short(text: str) -> str:
    """An annotation without quotes and without the modules that its names come from."""
    return re.sub(r"\b(?:[a-z_]+\.)+([A-Z]\w*)", r"\1", text).replace("'", "")


def _prose(doc: str) -> str:
    """A docstring in NumPy's form as Markdown: its sections become lists."""
    out: list[str] = []
    lines = doc.splitlines()
    at, in_section = 0, False
    while at < len(lines):
        line = lines[at]
        under = lines[at + 1] if at + 1 < len(lines) else ""
        if under and set(under.strip()) == {"-"} and len(under.strip()) > 2:
            out += ["", f"**{line.strip()}**", ""]
            at, in_section = at + 2, True
            continue
        if in_section and line and not line.startswith(" "):
            out.append(f"- {line.replace('``', '`')}")
        elif in_section and line.strip():
            out.append(f"  {line.strip().replace('``', '`')}")
        else:
            out.append(line.replace("``", "`"))
        at += 1
    return "\n".join(out).strip()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(folder: str) -> None:
    """Write the pages into a folder."""
    for path, text in made().items():
        target = Path(folder) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
