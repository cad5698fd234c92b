"""What an 80x24 screen must not lose."""

from __future__ import annotations

import asyncio

import pytest
from fake_session import FakeSession, model_of
from msgspec.structs import replace
from stage import stage

from gradstep.tui.panels import model
from gradstep.tui.panels.bars import status
from gradstep.tui.panels.bars.status import Activity
from gradstep.tui.panels.graph import panel as graph
from gradstep.tui.panels.why import News
from gradstep.tui.panels.why import draw as draw_why
from gradstep.tui.render.lines import cell_len, fit_middle, plain
from gradstep.values.commands import Print
from gradstep.values.expressions import Name
from gradstep.values.outcomes import Outcome, Stop
from gradstep.values.views import ModelRow, WhyView
from gradstep.values.views.graph import GraphView, NodeRow

SMALL = (80, 24)


def run(test):
    asyncio.run(asyncio.wait_for(test(), 60))


def test_buffers_of_a_batch_norm_are_told_apart():
    names = ["running_mean", "running_var", "num_batches_tracked"]
    rows = tuple(ModelRow("buffer", name, f"norm.{name}", 2, "", (6,), "float32", "cpu", 0.059) for name in names)
    lines = plain(model.draw(model_of(1, (ModelRow("module", "Cnn", "", 0, "Cnn"), *rows), 363), 34, 12).lines)
    assert len({line.split()[0] for line in lines[2:5]}) == 3
    assert any("mean" in line for line in lines)
    assert any("_var" in line for line in lines)


def test_a_cut_in_the_middle_keeps_both_ends_and_never_overflows():
    for width in range(20):
        assert cell_len(fit_middle("running_mean", width)) <= width
    assert fit_middle("running_mean", 8) == "run…mean"
    assert fit_middle("running_mean", 12) == "running_mean"


@pytest.mark.parametrize(("width", "named"), [(45, False), (71, True), (104, True)])
def test_the_operation_of_a_node_is_whole_before_its_module_is_named(width, named):
    operations = ["max pooling 2d", "batch norm", "norm.running.weight.grad"]
    rows = tuple(
        NodeRow(i, "X", operation, (24, 6, 8, 8), "norm BatchNorm2d", "", (), "●─┬─╮", "done")
        for i, operation in enumerate(operations)
    )
    lines = plain(graph.draw(GraphView(1, "alive", 3, 0, rows), width, 10).lines)
    assert all(any(operation in line for line in lines) for operation in operations)
    assert all("24×6×8×8" in line for line in lines[1:4])
    assert ("module" in lines[0]) is named


def test_why_shows_that_there_is_more():
    news = News(WhyView(1, "", "One.", "", ("Two.", "Three.", "Four.")))
    assert plain(draw_why(news, 40, 4).lines) == ["  One.", "  Two.", "  Three.", "  Four."]
    assert draw_why(news, 40, 4).mark() == ""
    assert draw_why(news, 40, 3).mark() == "↓ 1 more"
    assert plain(draw_why(news, 40, 3, 1).lines)[-1] == "  Four."
    assert draw_why(news, 40, 3, 1).mark() == "↑ 1 more"


def test_6_marks_why_and_gives_it_room():
    class Talkative(FakeSession):
        async def look(self, requests):
            views = await super().look(requests)
            more = tuple(f"Fact {i}." for i in range(7))
            return tuple(replace(view, more=more) if isinstance(view, WhyView) else view for view in views)

    async def test():
        async with stage(Talkative(), size=SMALL) as s:
            await s.press("f")
            assert "Fact 6." not in s.text()
            hidden = 8 - sum("Fact" in row or "was stop" in row for row in s.rows())
            assert [row for row in s.rows()[2:8] if row.rstrip().endswith(f" ↓ {hidden} more: 6")]
            await s.press("6")
            assert "Fact 6." in s.text()
            assert s.rows()[2].startswith("▌")

    run(test)


def test_the_footer_says_what_space_does_and_has_room_for_m():
    async def test():
        async with stage(size=SMALL) as s:
            await s.press("f", "b")
            assert "space step" in s.rows()[-1]
            assert "m maximise" in s.rows()[-1]
            await s.press("m")
            assert "m restore" in s.rows()[-1]
            await s.press("m")
            assert "m maximise" in s.rows()[-1]
            assert "q quit" in s.rows()[-1]

    run(test)


@pytest.mark.parametrize("width", [100, 120, 200])
@pytest.mark.parametrize(
    "line", ["prediction = model(x); loss = (ideal - prediction).pow(2)", "optimizer.zero_grad(set_to_none=False)"]
)
def test_no_line_of_pytorch_pushes_out_what_space_does(width, line):
    stop = Stop(4, phase="zero_grad", torch=line, natural=("next_batch", "forward"))
    row = status.phases(stop, Activity(), width).plain
    assert row.rstrip().endswith("space  next_batch; forward")
    assert len(row) == width


@pytest.mark.parametrize("width", range(60, 132))
@pytest.mark.parametrize("loss", [4.4743, 123456.75])
def test_the_top_row_drops_nothing_that_has_room(width, loss):
    stop = Stop(
        22, "mlp", "cpu", "float32", 0, iteration=50, loss=loss, loss_change=-3.785, optimizer="SGD", lr=(0.001,)
    )
    row = status.status(stop, Activity(), width).plain
    free = len(row.rstrip()) - len(" ".join(row.split()))
    words = row.split()
    assert "50" in words
    if "SGD" not in words:
        assert free < len("  SGD lr 0.001") + 4
    elif "cpu" not in words:
        assert free < len("  cpu  float32  seed 0") + 8
    assert row.rstrip().endswith("stop 22")


def test_the_state_of_a_buffer_keeps_to_its_column():
    rows = (
        ModelRow("parameter", "weight", "w", 1, "", (2,), grad="none"),
        ModelRow("buffer", "mean", "m", 1, "", (2,)),
    )
    for width in (34, 46, 100):
        header, weight, buffer = plain(model.draw(model_of(1, rows, 2), width, 3).lines)
        assert header.index(".grad") == weight.index("none") == buffer.index("buffer")
        assert buffer.endswith("buffer")


def test_a_printed_value_says_what_it_is_of():
    outcome = Outcome(Print(Name("lr")), Stop(1), text="0.01")
    assert "  lr = 0.01" in plain(draw_why(News(outcome=outcome), 40, 5).lines)
