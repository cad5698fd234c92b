"""The screen of an app as a self-contained SVG."""

from __future__ import annotations

import re

from textual.app import App

_LINKS = re.compile(r"@font-face\s*\{[^}]*\}\s*|<!--.*?-->\s*")
_FONTS = '"Fira Code", ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace'


def svg_of(app: App[None]) -> str:
    """Return the screen of an app as SVG, without the web font that Rich links to."""
    return _LINKS.sub("", app.export_screenshot(title="gradstep")).replace("Fira Code, monospace", _FONTS)
