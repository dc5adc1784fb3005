"""Whether there is a screen on which a browser could open a window."""

from __future__ import annotations

import os
import sys


def has_screen() -> bool:
    """Whether a browser would open a window: on a bare terminal it would take the terminal."""
    if not sys.stdout.isatty():
        return False
    return sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
