"""Narration as text for a terminal, and as HTML."""

from __future__ import annotations

import pytest

from gradstep.steps.narration import html, rendered


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("A **bold** word, `code` and *more*.", "A bold word, code and more."),
        ("## 2. Forward", "2. Forward"),
        ("- one", " • one"),
        ("2 * 3 < 7 and a_b", "2 * 3 < 7 and a_b"),
    ],
)
def test_marks_are_rendered_and_the_rest_is_left(markdown: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert rendered(markdown) == text


def test_text_is_wrapped_and_has_no_blanks_at_its_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    lines = rendered("word " * 20).splitlines()
    assert len(lines) == 4
    assert all(len(line) <= 30 and line == line.rstrip() for line in lines)


def test_html_has_its_headings_below_the_pages_and_shows_markup_as_text() -> None:
    assert html("# One") == "<h2>One</h2>\n"
    assert html("###### Six") == "<h6>Six</h6>\n"
    assert html("a <b>c</b>") == "<p>a &lt;b&gt;c&lt;/b&gt;</p>\n"
    assert "href" not in html("[x](javascript:alert(1))")
