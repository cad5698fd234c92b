"""What a panel leaves out has a mark with the right number, in every panel, at three sizes, on views of real runs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Sequence

import pytest
from fake_session import FakeSession
from stage import Stage, stage

from gradstep.session.local import Session
from gradstep.session.transport.inline import InlineSession
from gradstep.tui.layout.layouts import PANELS
from gradstep.tui.panels.batch import BatchPanel
from gradstep.tui.panels.compare import ComparePanel
from gradstep.tui.panels.panel import Panel
from gradstep.tui.panels.script import OpenScript
from gradstep.tui.panels.tensor.panel import TensorPanel
from gradstep.tui.render.lines import plain
from gradstep.values.commands import Command, Load
from gradstep.values.views import Request, View
from gradstep.values.views.inside import LookSource, SourceView

SIZES = [(80, 24), (120, 40), (200, 60)]
LOOPS = ("tensor", "graph", "log", "model", "why", "layers", "optimizer", "batch", "ledger", "timeline", "compare")
INSIDE = ("inside", "jtv", "contributions", "source", "breakpoints")
APART = {"loss", "output", "script", "findings", "stack"}
"""A plot is drawn in whatever room there is; a script is opened below; a healthy loop has no findings, and no stack."""
SMALL = SIZES[0]


class Real(InlineSession):
    """The engine in this process."""

    def __init__(self) -> None:
        super().__init__(Session())
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def executed(self) -> Sequence[Command]:
        return self.local.log


FOOT = ("model", "layers", "graph", "contributions", "inside", "timeline", "compare")
"""Panels whose last row stands at the bottom, empty rows above it."""


def count(panel: Panel, lines: Sequence[str]) -> int:
    """Return how many rows there are, without those that are empty for the last one to stand at the bottom."""
    rows = list(lines)
    while panel.id in FOOT and len(rows) > 1 and not rows[-2].strip():
        del rows[-2]
    if panel.id == "jtv":  # of the grids, their titles say which part is seen
        return len(rows) - next(i for i, row in enumerate(rows) if "norm " in row)
    return len(rows)


def marked(text: str) -> dict[str, int]:
    """Return the numbers of a mark by what stands with them."""
    found = {arrow: int(count.replace(",", "")) for arrow, count in re.findall(r"([↑↓←→]) ([\d,]+)", text)}
    lines = re.search(r"(\d+) more lines?", text)
    return found | ({"lines": int(lines[1])} if lines else {})


def seen(panel: Panel) -> tuple[dict[str, int], list[str]]:
    """Return the mark of a panel as it is painted, and the rows of its body."""
    lines = plain(panel.surface.lines)
    if not panel.titled:
        return marked(lines[-1]), lines
    return marked(lines[0]), lines[1 + panel._subtitled :]


def check(panel: Panel) -> bool:
    """Hold the mark of a panel against the same view drawn with room for all of it; True when something is hidden."""
    mark, body = seen(panel)
    tall = plain(panel.draw(panel.size.width, 500).lines)
    hidden = count(panel, tall) - count(panel, body)
    if panel.id in FOOT and tall[-1].split()[:2] != body[-1].split()[:2]:
        hidden -= 1  # what it says of the row under the cursor is no row
    if isinstance(panel, BatchPanel):
        assert panel.view is not None
        hidden = panel.view.total - len(re.findall(r"[ ▶]#\d+", "\n".join(body)))
    counted = mark.get("↑", 0) + mark.get("↓", 0) + mark.get("lines", 0)
    assert counted == hidden, (panel.id, panel.size, "\n".join(plain(panel.surface.lines)))
    return hidden > 0


def check_window(panel: TensorPanel) -> bool:
    """Hold the mark of Tensor against the indices of the rows and columns that are seen."""
    mark, body = seen(panel)
    view = panel.view
    assert view is not None
    rows = [int(label) for row in body for label in re.findall(r"^[▶ ]+\[(\d+)\]", row)]
    columns = [int(label) for label in re.findall(r"\[(\d+)\]", body[1])]
    assert (mark.get("↑", 0), mark.get("↓", 0)) == (rows[0], view.shape[0] - 1 - rows[-1])
    assert (mark.get("←", 0), mark.get("→", 0)) == (columns[0], view.shape[1] - 1 - columns[-1])
    return bool(mark)


async def go(s: Stage, name: str) -> Panel:
    s.screen.panel_keys.focus(name)
    await s.idle()
    return s.screen.panels[name]


async def check_all(s: Stage, names: Sequence[str]) -> set[str]:
    """Check panels at their start, a page on and at their end; return those that did not have room for everything."""
    cut = set()
    for name in names:
        panel = await go(s, name)
        for keys in ((), ("pagedown",), ("end",), ("home",)):
            await s.press(*keys)
            if check_window(panel) if isinstance(panel, TensorPanel) else check(panel):
                cut.add(name)
    return cut


def on_stage(size: tuple[int, int], example: str, test: Callable[[Stage], Coroutine[None, None, None]]) -> None:
    async def run() -> None:
        real = Real()
        try:
            async with stage(real, size, opening=[Load(example, seed=0)]) as s:  # type: ignore[arg-type]
                await test(s)
        finally:
            real.local.close()  # a phase that is left inside would keep its hooks on every module

    asyncio.run(asyncio.wait_for(run(), 120))


@pytest.mark.parametrize("size", SIZES)
def test_between_phases_what_is_left_out_is_counted(size: tuple[int, int]) -> None:
    async def test(s: Stage) -> None:
        await s.press(*"fbsz" * 4, *"fb")
        s.screen.panel(ComparePanel).compare("2", "5")
        cut = await check_all(s, LOOPS)
        # what a larger screen has room for is its business; the smallest has room for none of these
        assert {"graph", "model"} <= cut
        assert size != SMALL or {*LOOPS} - {"ledger", "layers", "optimizer"} <= cut
        script = s.screen.script_panel
        script.show(OpenScript("long.steps", ["forward"] * 90, 45))
        assert script.draw(60, 12).mark() == "↑ 38 ↓ 40 more"

    on_stage(size, "gpt", test)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("example", "names"), [("deep", ("layers", "graph", "batch")), ("cnn", ("batch", "graph"))])
def test_layers_and_pictures_that_have_no_room_are_counted(
    size: tuple[int, int], example: str, names: tuple[str]
) -> None:
    async def test(s: Stage) -> None:
        await s.press(*"fbszfb")
        cut = await check_all(s, names)
        assert size != SMALL or cut == {*names}

    on_stage(size, example, test)


@pytest.mark.parametrize("size", SIZES)
def test_inside_a_backward_what_is_left_out_is_counted(size: tuple[int, int]) -> None:
    async def test(s: Stage) -> None:
        await s.press("f")
        for number in range(20):
            s.screen.typing.given(f"break node #{number + 4}")
        await s.press(*"iiii")
        cut = await check_all(s, INSIDE)
        await s.press("c", "c")
        cut |= await check_all(s, INSIDE)
        assert {"source"} <= cut
        assert size != SMALL or {"source", "jtv", "breakpoints"} <= cut

    on_stage(size, "gpt", test)


class LongFile(FakeSession):
    """A session whose line is the 1,502nd of 3,002."""

    def _view(self, request: Request) -> View:
        if not isinstance(request, LookSource):
            return super()._view(request)
        first = max(1, min(request.first or 1502 - request.lines // 2, 3002 - request.lines + 1))
        lines = tuple(f"line {number}" for number in range(first, first + request.lines))
        return SourceView(self.stop.number, "net.py", first, lines, 1502, "forward", total=3002)


@pytest.mark.parametrize("size", SIZES)
def test_source_is_counted_and_scrolled_by_the_lines_of_the_whole_file(size: tuple[int, int]) -> None:
    async def test() -> None:
        async with stage(LongFile(), size) as s:
            panel = await go(s, "source")
            assert any(line.plain.startswith("▶ 1502  line 1502 ") for line in panel.surface.lines)
            for key in ("end", "pageup", "home", "pagedown", "down"):
                await s.press(key)
                mark, body = seen(panel)
                numbers = [int(row.lstrip("▶┃ ").split()[0]) for row in body]
                assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
                assert [row.split()[-1] for row in body] == [str(number) for number in numbers], "none is still to come"
                assert (mark.get("↑", 0), mark.get("↓", 0)) == (numbers[0] - 1, 3002 - numbers[-1])

    asyncio.run(asyncio.wait_for(test(), 60))


def test_every_panel_is_checked() -> None:
    assert {*LOOPS, *INSIDE, *APART} == {*PANELS}
