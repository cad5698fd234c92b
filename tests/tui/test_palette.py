"""The palette: every command once, the very word first."""

from __future__ import annotations

import asyncio

from fake_session import FakeSession
from stage import stage
from textual.fuzzy import Matcher

from gradstep.tui.commands.palette import entries, rank
from gradstep.values.outcomes import Died


def found(screen, query):
    offered = entries(screen)
    match = Matcher(query).match
    ranked = sorted(offered, key=lambda entry: -rank(entry, query, match))
    return [entry.name for entry in ranked if rank(entry, query, match) > 0]


def test_each_command_is_offered_once_and_the_word_itself_comes_first():
    async def test():
        async with stage() as s:
            words = [entry.word.replace("_", " ") for entry in entries(s.screen)]
            assert sorted(set(words)) == sorted(words)
            assert found(s.screen, "step")[0] == "step  (s)"
            assert found(s.screen, "show")[0] == ":show"
            assert found(s.screen, "loss")[0] == "Loss  (3)"
            assert found(s.screen, "forw")[0] == "forward  (f)"
            assert ":break" in found(s.screen, "nan")

    asyncio.run(asyncio.wait_for(test(), 60))


def test_continue_is_offered_when_there_is_something_to_go_on_with():
    async def test():
        from gradstep.steps.language.parse import parse_script

        async with stage(opening=[], script=parse_script("load mlp seed=0\nforward\n", "a.steps")) as s:
            assert "continue  (c)" in found(s.screen, "continue")
            await s.press("c")
            assert "continue  (c)" not in found(s.screen, "continue")

    asyncio.run(asyncio.wait_for(test(), 60))


def test_only_what_applies_now_is_offered():
    async def test():
        async with stage() as s:
            names = [entry.name for entry in entries(s.screen)]
            assert {"forward  (f)", ":let", ":save", "play  (p)"} <= set(names)
            assert not {"restart  (R)", "slower  (<)", "traceback  (t)", "Script  (7)"} & set(names)
            s.session.dead = "killed by SIGKILL"
            s.session.on_event(Died("killed by SIGKILL"))
            names = [entry.name for entry in entries(s.screen)]
            assert {"restart  (R)", ":save", "quit  (q)"} <= set(names)
            assert not {"forward  (f)", ":let", "play  (p)", "iteration  (N)"} & set(names)
        async with stage(FakeSession(), opening=[]) as s:
            names = [entry.name for entry in entries(s.screen)]
            assert ":load" in names
            assert not {":let", "start over  (r)"} & set(names)

    asyncio.run(asyncio.wait_for(test(), 60))
