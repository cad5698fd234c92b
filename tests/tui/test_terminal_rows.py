"""The script's terminal as rows: text, colours, sizes, and what scrolls off."""

from __future__ import annotations

import pyte
from hypothesis import given, settings
from hypothesis import strategies as st

from gradstep.tui.render.lines import Span
from gradstep.tui.render.terminal import BACKLOG, SCROLLBACK, Emulator, cropped


def rows(emulator: Emulator) -> list[str]:
    """Return every row as plain text."""
    return ["".join(text for text, _ in emulator.row(y)) for y in range(emulator.rows)]


def printed(text: str, columns: int = 20, height: int = 4) -> Emulator:
    """Return a terminal on which a text was printed as a pty passes it on."""
    emulator = Emulator(columns, height)
    emulator.write(text.replace("\n", "\r\n"))
    assert emulator.draw()
    return emulator


def test_what_scrolls_off_is_kept() -> None:
    assert rows(printed("".join(f"line {i}\n" for i in range(9))))[:9] == [f"line {i}" for i in range(9)]


def test_a_progress_bar_is_drawn_over_itself() -> None:
    assert rows(printed("  0%|    |\r 50%|##  |\r100%|####|\ndone")) == ["100%|####|", "done"]


def test_a_bar_above_another_is_moved_to_with_the_cursor() -> None:
    assert rows(printed("one\ntwo\x1b[A\rONE\x1b[B\r!")) == ["ONE", "!wo"]


def test_colours_are_tones_of_their_own() -> None:
    emulator = printed("\x1b[1;31mbad\x1b[0m ok \x1b[38;2;1;2;3mx\x1b[48;5;21my")
    assert emulator.row(0) == (
        Span("bad", "ansi:red:default:b"),
        Span(" ok ", "text"),
        Span("x", "ansi:010203:default:"),
        Span("y", "ansi:010203:0000ff:"),
    )


def test_a_narrower_terminal_hides_text_and_a_wider_one_shows_it_again() -> None:
    emulator = printed("a long line of text\nshort")
    emulator.resize(6, 4)
    emulator.resize(20, 4)
    assert rows(emulator) == ["a long line of text", "short"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 9)), max_size=6))
def test_no_size_loses_a_row(sizes: list[tuple[int, int]]) -> None:
    text = [f"row {i} 漢é" for i in range(7)]
    emulator = printed("\n".join(text), 30, 5)
    for columns, height in sizes:
        emulator.resize(columns, height)
    assert rows(emulator) == text


def test_a_second_buffer_leaves_the_first_as_it_was() -> None:
    emulator = printed("before\n\x1b[?1049h\x1b[H\x1b[2Jfull screen")
    assert "full screen" in rows(emulator)
    emulator.write("\x1b[?1049lafter")
    emulator.draw()
    assert rows(emulator) == ["before", "after"]


def test_a_query_is_answered() -> None:
    answers: list[str] = []
    emulator = Emulator(20, 4, answers.append)
    emulator.write("ab\x1b[6n")
    emulator.draw()
    assert answers == ["\x1b[1;3R"]


def test_more_than_can_be_drawn_is_skipped_at_a_line_and_said() -> None:
    emulator = Emulator(120, 4)
    for number in range(20_000):
        emulator.write(f"{'x' * 80} line {number}\r\n")
    assert emulator.draw()
    first, second, *_, last, _empty = rows(emulator)
    assert "characters skipped" in first + second
    assert last.endswith(" line 19999")
    assert len(rows(emulator)) < BACKLOG // 80


def test_scrollback_has_an_end() -> None:
    emulator = Emulator(40, 4)
    for number in range(SCROLLBACK + 500):
        emulator.write(f"{number}\r\n")
        emulator.draw()
    assert emulator.rows <= SCROLLBACK + 4


_MOVES = ["\r", "\r\n", "\b", "\t", "\x1b[H", "\x1b[3;2H", "\x1b[A", "\x1b7", "\x1b8"]
_EDITS = ["\x1b[31m", "\x1b[0m", "\x1b[2J", "\x1b[K", "\x1b[1P", "\x1b[2@", "\x1b[L", "\x1b[M", "\x1b[4h", "\x1b[4l"]
_PIECES = st.sampled_from(["abc", "漢字", "é", "e\u0301", "x" * 30, *_MOVES, *_EDITS])


@settings(deadline=None)
@given(st.lists(_PIECES, max_size=40))
def test_it_shows_what_pyte_alone_shows(pieces: list[str]) -> None:
    emulator, alone = Emulator(12, 5), pyte.Screen(12, 5)
    stream = pyte.Stream(alone)
    for piece in pieces:
        emulator.write(piece)
        stream.feed(piece)
    emulator.draw()
    shown = [line.rstrip() for line in alone.display]
    visible = rows(emulator)[-emulator._screen.used :]
    assert [row.rstrip() for row in visible] == shown[: len(visible)]
    assert not any(shown[len(visible) :])


@given(st.binary(max_size=200))
def test_no_bytes_break_it(data: bytes) -> None:
    emulator = Emulator(12, 5)
    emulator.write(data.decode("utf-8", "replace"))
    assert emulator.draw()
    emulator.write("\x1b\\\x18\x1bc fine")
    emulator.draw()
    assert "fine" in rows(emulator)[-1]


def test_a_row_is_cropped_at_a_wide_character() -> None:
    assert cropped((Span("a漢b"),), 0, 2).plain == "a "
    assert cropped((Span("a漢b"),), 2, 3).plain == " b "
    assert cropped((Span("ab"),), 0, 4, 1).spans[1] == Span("b", "ansi:default:default:r")
