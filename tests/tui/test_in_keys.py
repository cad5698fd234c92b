"""What views say of commands is said of keys on the screen, as they are bound."""

from __future__ import annotations

import asyncio
import re

import pytest
from stage import stage
from test_inside import Real

from gradstep.tui.keys.help import panel_lines
from gradstep.tui.keys.in_keys import in_keys, view_in_keys
from gradstep.tui.keys.keyboard import DEFAULT_KEYS, Keyboard
from gradstep.tui.layout.layouts import REGISTRY
from gradstep.tui.panels import compare, why
from gradstep.values.outcomes import Frame, Problem
from gradstep.values.views import NoView, WhyView
from gradstep.values.views.ledger import LedgerView

OTHER = Keyboard({"forward": "w", "backward": "", "step": "up", "zero_grad": "slash", "into": "f6", "go_on": "f13"})


@pytest.mark.parametrize(
    ("said", "usual", "other"),
    [
        ("Ready. Run `forward`: it runs", "Ready. Press f: it runs", "Ready. Press w: it runs"),
        ("none: run `forward`, then `backward`", "none: press f, then b", "none: press w, then `:backward`"),
        ("Run `backward` first", "Press b first", "Run `:backward` first"),
        ("Clear it with `zero_grad`.", "Clear it with z.", "Clear it with /."),
        ("`into` steps, after the next `step`", "i steps, after the next s", "f6 steps, after the next ↑"),
        ("`goto 3`, `undo`, `into backward`", "`goto 3`, `undo`, `into backward`", "`goto 3`, `undo`, `into backward`"),
        ("overrun `forward`", "overrun f", "overrun w"),
        ("stopped; `continue` goes on", "stopped; c goes on", "stopped; f13 goes on"),
        ("run forward", "run forward", "run forward"),
    ],
)
def test_a_command_is_named_by_its_key_and_typed_where_it_has_none(said: str, usual: str, other: str) -> None:
    assert in_keys(said, DEFAULT_KEYS) == usual
    assert in_keys(said, OTHER) == other


def test_every_sentence_of_a_view_is_said_in_keys() -> None:
    why = view_in_keys(WhyView(1, "", "Run `forward`.", "", ("run `step`", "`undo`")), OTHER)
    assert (why.sentence, why.more) == ("Press w.", ("press ↑", "`undo`"))
    assert view_in_keys(NoView(1, "run `forward`"), OTHER).why == "press w"
    quiet = LedgerView(1, note="nothing")
    assert view_in_keys(quiet, OTHER) is quiet


def test_panels_name_the_keys_as_they_are_bound() -> None:
    keyboard = Keyboard({"forward": "E", "backward": "Q", "step": "Z", "zero_grad": "f13", "into": "f14"})

    async def test() -> None:
        real = Real()
        async with stage(real, opening=[], keyboard=keyboard) as s:  # type: ignore[arg-type]
            panels = s.screen.panels

            async def seen(name: str) -> str:
                await s.press(keyboard.key(name).keys.partition(",")[0])
                return " ".join(" ".join(line.plain for line in panels[name].surface.lines).split())

            assert "Ready. Press E: forward runs" in s.text()
            assert "none yet: E, then Q" in await seen("tensor")
            assert "No .grad yet: press E, then Q. Each" in await seen("ledger")
            assert "No loss yet: press E, which computes" in await seen("loss")
            assert "o graph yet: press E, " in await seen("graph")
            assert "no graph yet: press E, which builds it" in await seen("jtv")
            assert "no line is running: f14 steps into a phase" in await seen("source")
            assert "or E, which takes one" in await seen("batch")
            assert "update/weight appears after the next Z" in await seen("layers")
            await s.press("E", "Q")
            assert "change when you press Z" in s.text()
            await s.press("E", "Q")
            assert "Clear it with f13." in " ".join(s.text().split())

    asyncio.run(asyncio.wait_for(test(), 120))


MOVED = Keyboard({"compare": "M", "timeline": "f13", "try": "", "traceback": "f14", "pause": "f15", "choose": "f16"})


def test_what_the_screen_says_itself_follows_too() -> None:
    said = " ".join(" ".join(line.plain for line in compare.draw(None, 200, 6, keyboard=MOVED).lines).split())
    assert "In Timeline (f13), M marks a stop, and M on another" in said
    assert "no key runs the same commands again" in said
    frames = (Frame("torch/nn.py", 1, "call", "f()", False),)
    problem = Problem("raised", "it broke", "", frames=frames)
    assert "f14 shows the whole traceback" in why.problem_lines(problem, 90, keyboard=MOVED)[-1].plain


@pytest.mark.parametrize("name", list(REGISTRY))
def test_what_the_help_says_of_a_panel_names_keys_as_they_are_bound(name: str) -> None:
    panel = REGISTRY[name]()
    assert re.findall(r"\b(?:enter|esc|space|delete)\b", re.sub(r"{\w+}", "", panel.help_text)) == []
    moved = " ".join(" ".join(line.plain for line in panel_lines(100, MOVED, panel)).split())
    assert "{" not in moved
    for field, key in (("{choose}", "f16"), ("{pause}", "f15"), ("{compare}", "M marks")):
        assert (key in moved) == (field in panel.help_text)
