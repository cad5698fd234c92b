"""A replay's screen, frame by frame, on the real engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradstep.cli import main


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_the_page_of_a_replay_shows_the_screen_at_every_step(size: tuple[int, int], tmp_path: Path) -> None:
    script, page = tmp_path / "a.steps", tmp_path / "a.html"
    script.write_text("load linear seed=0 device=cpu\nsay Go.\nforward\nbackward\ninto forward\nout phase\n")
    columns, rows = size
    assert main(["replay", str(script), "--html", str(page), "--size", f"{columns}x{rows}"]) == 0
    text = page.read_text("utf-8")
    assert "forward computed the loss" in text
    assert "wrote .grad" in text
    assert "Linear" in text
    assert f"--columns:{columns};--rows:{rows};" in text
    assert "? help" not in text  # keys that the page has not


def test_two_scripts_or_another_kind_of_file_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "a.steps"
    script.write_text("load linear\n")
    for arguments, word in [
        ([str(script), str(script), "--html", "a.html"], "--html takes one script"),
        ([str(script), "--html", "a.txt"], "--html takes a .html file"),
        ([str(script), "--html", str(tmp_path / "no" / "a.html")], "the folder of the page does not exist"),
    ]:
        assert main(["replay", *arguments]) == 2
        assert word in capsys.readouterr().err
