"""The version a model was served from last, for a start while the registry is away."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from serving.models.registry import Version
from serving.settings import ServingSettings

RECORD = "followed.json"


def cache_folder(settings: ServingSettings, name: str) -> Path:
    """Where the fetched versions of a model are kept."""
    return settings.cache / quote(name, safe="")


def remember(settings: ServingSettings, version: Version) -> None:
    """Write down which version is followed; `OSError` when the folder cannot be written."""
    folder = cache_folder(settings, version.name)
    half = folder / f".{RECORD}.{os.getpid()}"
    half.write_text(json.dumps({"alias": settings.alias, **asdict(version)}))
    half.replace(folder / RECORD)


def remembered(settings: ServingSettings, name: str) -> Version | None:
    """The version followed last under the same alias; None when there is none."""
    try:
        record = json.loads((cache_folder(settings, name) / RECORD).read_text())
        alias = record.pop("alias")
        return Version(**record) if alias == settings.alias else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
