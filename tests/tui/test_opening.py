"""What Tensor shows before anything is selected, and what is said where nothing could be loaded."""

from __future__ import annotations

import asyncio

from fake_session import FakeSession
from stage import stage

from gradstep.steps.parse import parse_script


def run(test):
    asyncio.run(asyncio.wait_for(test(), 60))


def test_a_script_without_show_opens_on_what_the_workload_asks_for_and_stays_as_it_is():
    async def test():
        script = parse_script("load mlp seed=0\nforward\nshow 2.bias\n", "a.steps")
        async with stage(opening=[], script=script) as s:
            await s.until(lambda: "2.weight[0, 0:10]  of 10×256" in s.text())
            await s.press("space")
            assert "2.weight[0, 0:10]  of 10×256" in s.text()
            assert s.session.lines() == ["load mlp seed=0", "forward"]
            await s.press("space")
            assert "2.bias  of" in s.text()

    run(test)


def test_a_workload_handed_over_opens_on_what_it_asks_for():
    async def test():
        async with stage(FakeSession(loaded=True), opening=[]) as s:
            await s.until(lambda: "2.weight[0, 0:10]  of 10×256" in s.text())
            assert s.session.lines() == []

    run(test)
