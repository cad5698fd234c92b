"""The pictures in screenshots/ are what their scripts draw today: the words and the layout, not the last digits."""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path

import pytest

from gradstep.cli import main

SCREENSHOTS = Path(__file__).parent.parent / "screenshots"
SCRIPTS = sorted(SCREENSHOTS.glob("*.steps"))


def drawn(picture: Path) -> list[tuple[float, float, str]]:
    """Return each run of text in a picture with its place, every digit as 0 and every bar as one stroke."""
    runs = re.findall(r'<text [^>]*?x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>', picture.read_text("utf-8"))
    return [(float(x), float(y), plain(html.unescape(text))) for x, y, text in runs]


def plain(text: str) -> str:
    return re.sub(r"[━╸╺]+", "━", re.sub(r"\d", "0", text)).replace("\xa0", " ").rstrip()


def test_every_picture_has_a_script() -> None:
    made = {name for script in SCRIPTS for name in re.findall(r"^screenshot (\S+)", script.read_text("utf-8"), re.M)}
    made.add("scale.svg")  # drawn by the benchmark `curves`
    assert {path.name for path in SCREENSHOTS.glob("*.svg")} == made


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_pictures_are_current(script: Path, tmp_path: Path) -> None:
    for beside in SCREENSHOTS.glob("*.py"):
        shutil.copy(beside, tmp_path)
    assert main(["replay", str(shutil.copy(script, tmp_path))]) == 0
    fresh = sorted(tmp_path.glob("*.svg"))
    assert fresh
    for picture in fresh:
        texts = [(y, text) for _, y, text in drawn(picture)]
        assert texts == [(y, text) for _, y, text in drawn(SCREENSHOTS / picture.name)], picture.name
        assert len(texts) > 20


def test_a_changed_word_is_seen(tmp_path: Path) -> None:
    picture = SCREENSHOTS / "mlp.svg"
    other = tmp_path / "other.svg"
    other.write_text(picture.read_text("utf-8").replace("Model", "Modal"), "utf-8")
    assert drawn(other) != drawn(picture)
