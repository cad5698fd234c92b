"""What the panel Jᵀ v draws, on plain strings."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from rich.cells import cell_len

from gradstep.tui.panels.jtv import panel as jtv
from gradstep.tui.render.lines import plain
from gradstep.values.views.node import Chain, EdgeRow, Flow, Link, LookNode, MatrixPart, NodeView, SavedRow, Strip
from gradstep.values.views.tensor import Statistics

V = Flow((2, 3), "float32", Statistics(6, -0.5, 0.25, norm=1.5, rms=0.3), ((0.125, -0.5, 0.25), (0.0625, 0.0, -0.25)))
LEAVES = Flow((2, 3), "float32", Statistics(6, 0.0, 0.25, norm=0.75, rms=0.2), ((0.125, 0.0, 0.25), (0.0, 0.0, -0.25)))
RELU = NodeView(
    3,
    7,
    12,
    "ReluBackward0",
    "relu",
    "1 ReLU",
    "before",
    "y = max(x, 0)",
    "v passes where the output is above 0, and is zeroed elsewhere",
    (V,),
    (EdgeRow(0, "x", "v ⊙ 1[y > 0]", 8, "AddmmBackward0", "b + x Wᵀ", "0 Linear", "", (2, 3), LEAVES, 0.5),),
    0,
    "",
    MatrixPart(0, 0, 6, 6, "diagonal", "diagonal", 0, 0, ((1.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0)), 2, 4),
    (SavedRow("result", "alive", "y", (2, 3), "float32", 24),),
    (),
    Chain(
        (
            Link(0, "SumBackward0", "sum", "loss", (), "x", 6, 1.0),
            Link(1, "PowBackward0", "x ** 2", "loss", (2, 3), "x", 6, 3.0),
            Link(7, "ReluBackward0", "relu", "1 ReLU", (2, 3), norm=1.5),
        ),
        3,
    ),
)
ADD = replace(
    RELU,
    name="AddBackward0",
    forward="y = a + b",
    edges=(
        EdgeRow(0, "a", "v", 8, "MulBackward0", "a × b", "loss", "", (2, 3), V, 1.0, (), 2),
        EdgeRow(1, "b", "v", 9, "AccumulateGrad", "b.grad", "b", "b", (3,), LEAVES, 0.5, (0,)),
        EdgeRow(2, "c", "v", note="needs no gradient"),
    ),
    seen=1,
)


def text(view: NodeView, width: int = 73, height: int = 30) -> str:
    return "\n".join(plain(jtv.draw(view, width, height, view.seen).lines))


def test_v_j_and_j_t_v_stand_side_by_side() -> None:
    lines = text(RELU).splitlines()
    assert lines[0].split() == ["v", "2×3", "J", "6×6", "Jᵀv", "2×3"]
    assert lines[1].split() == ["0", "…"], "the numbers of J's columns, and that there are more"
    assert "J[:3, :3] of 6×6" in text(RELU, 120)
    assert lines[2].split() == ["+0.125", "−0.500", "+0.250", "0", "1", "·", "·", "+0.125", "0", "+0.250"]
    assert lines[3].split() == ["+0.062", "0", "−0.250", "1", "·", "0", "·", "0", "0", "−0.250"]
    assert lines[5].split() == ["norm", "1.500", "diagonal", "norm", "0.750", "×0.500"]


def test_a_grid_that_is_cut_says_which_part_of_it_is_seen() -> None:
    flow = Flow((24, 6, 8, 8), "float32", V.statistics, tuple((0.125,) * 8 for _ in range(8)))
    view = replace(RELU, arrives=(flow,), edges=(replace(RELU.edges[0], leaves=flow),))
    for width, v, jtv_v in (
        (130, "v[0, 0, :, :6] of 24×6×8×8", "Jᵀv[0, 0, :, :6] of 24×6×8×8"),
        (73, "v[0, 0, :, :3] of 24×6×8×8", "Jᵀv[0,0,:,:3] of 24×6×8×8"),
    ):
        assert text(view, width).splitlines()[0].strip().startswith(v)
        assert text(view, width).splitlines()[0].rstrip().endswith(jtv_v)
    assert text(view, 45).splitlines()[0].strip().startswith("v[0,0,:,:1]")


def test_the_formula_says_where_it_goes() -> None:
    assert "y = max(x, 0)   Jᵀv = v ⊙ 1[y > 0]   → b + x Wᵀ 2×3" in text(RELU)
    assert "J: diagonal, 4 ones, 2 zeros of 6" in text(RELU)
    assert "saved: result (y) 2×3 float32, 24 B" in text(RELU)


def test_the_chain_is_a_product_and_a_row_for_each_factor() -> None:
    lines = text(RELU).splitlines()
    start = lines.index("  v = J₁ᵀ J₀ᵀ 1   1 = ∂loss/∂loss")
    assert lines[start + 1].split()[:4] == ["#0", "sum", "J", "1×6"]
    assert lines[start + 2].split() == ["#1", "x", "**", "2", "J", "6×6", "3.000", "━" * 18]
    assert lines[start + 3].split() == ["▶", "#7", "relu", "v", "2×3", "1.500", "━" * 9]


@pytest.mark.parametrize("width", [28, 41, 60])
def test_the_columns_of_a_chain_keep_apart_where_there_is_little_room(width: int) -> None:
    links = (
        Link(0, "NllLossBackward0", "−log p[target]", "loss", (), "x", 6432896, 1.0),
        Link(1, "LogSoftmaxBackward0", "log softmax", "loss", (128, 50257), "x", 6432896, 0.089),
        Link(2, "ViewBackward0", "view", "loss", (128, 50257), norm=2.9e-6),
    )
    lines = text(replace(RELU, number=2, chain=Chain(links, 3)), width).splitlines()
    sums = [line for line in lines if "#" in line][-3:]
    assert [line.rstrip("━ ").split()[-1] for line in sums] == ["1.000", "0.089", "2.90e−06"]
    assert (" J 1×6432896 " in sums[0]) == (width == 60)


def test_a_long_chain_leaves_out_its_middle() -> None:
    links = tuple(Link(i, "N", "sin", "loss", (2,), "x", 2) for i in (0, *range(900, 930)))
    view = replace(RELU, number=929, chain=Chain(links, 930, 899, 1_000_000))
    drawn = text(view, 60, 60)
    assert "… 899 nodes …" in drawn
    assert "the shortest of a million paths or more" in drawn
    product = next(line for line in drawn.splitlines() if line.startswith("  v = J"))
    assert product.endswith("… J₀ᵀ 1")


@pytest.mark.parametrize("width", [36, 73])
def test_a_chain_that_has_no_room_leaves_its_product_and_a_sign(width: int) -> None:
    for height in range(8, 16):
        drawing = jtv.draw(RELU, width, height, 0)
        lines = plain(drawing.lines)
        assert len(lines) <= height
        assert [line for line in lines if line.startswith("  v = J₁ᵀ J₀ᵀ 1")] or height < 9
        whole = plain(jtv.draw(RELU, width, 60, 0).lines)
        assert drawing.cut == len(whole) - len(lines)
        assert (f"{drawing.cut} more line" in drawing.mark("m")) == (drawing.cut > 0)


def test_every_input_has_its_row_and_the_cursor_is_on_the_one_seen() -> None:
    lines = text(ADD).splitlines()
    (a,) = [line for line in lines if "meets 2 others" in line]
    assert a.split()[:4] == ["a", "v", "→", "a"]
    (b,) = [line for line in lines if line.startswith("▶ b")]
    assert b.split()[2:] == ["v", "→", "b.grad", "3,", "summed", "over", "dim", "0", "0.750", "×0.500"]
    (c,) = [line for line in lines if "needs no gradient" in line]
    assert c.split()[0] == "c"


def test_other_matrices_are_heat_maps() -> None:
    window = ((0.5, -0.25), (0.0, 1.0))
    view = replace(RELU, matrix=MatrixPart(0, 0, 2, 2, "no structure", "25% zeros", 0, 0, window))
    drawn = text(view)
    assert "+▒" in drawn
    assert "−" in drawn
    assert "J: 25% zeros" in drawn


def test_what_was_written_or_packed_is_told() -> None:
    saved = (
        SavedRow("self", "written", "x", (2,), "float32", 8, "", 0, 2),
        SavedRow("other", "hooked"),
        SavedRow("result", "freed", "y"),
        SavedRow("mat2", "alive", "W", (2, 3), "float32", 24, "2.weight"),
    )
    drawn = text(replace(RELU, saved=saved))
    assert "saved: self (x) 2 float32, 8 B, OVERWRITTEN since: version 0, now 2" in drawn
    assert "saved: other, packed by a hook" in drawn
    assert "saved: result (y), freed by a backward" in drawn
    assert "saved: mat2 (W) 2×3 float32, it is 2.weight" in drawn


def test_a_check_that_fails_is_no_quiet_matter() -> None:
    assert RELU.matrix is not None
    matrix = replace(RELU.matrix, agrees=False, check="J DISAGREES with finite differences: all 36 elements of J")
    lines = jtv.draw(replace(RELU, matrix=matrix), 73, 30).lines
    assert any(span.tone == "bad" and "DISAGREE" in span.text for line in lines for span in line.spans)


def test_without_v_the_panel_says_so() -> None:
    note = "v is shown when backward is stepped to this node"
    edge = replace(RELU.edges[0], leaves=None, ratio=None, note=note)
    drawn = text(replace(RELU, arrives=(), edges=(edge,), note=note))
    assert drawn.splitlines()[0].split()[:3] == ["v:", "not", "captured"]
    assert f"  {note}" in drawn.splitlines()


def test_an_empty_view_says_what_to_press() -> None:
    assert "i steps into a backward" in text(NodeView(1, note="no node is stopped at: i steps into a backward"))


@pytest.mark.parametrize("width", [20, 34, 45, 60, 73, 100, 130])
@pytest.mark.parametrize("height", [1, 5, 9, 17, 40])
@pytest.mark.parametrize("view", [RELU, ADD, replace(RELU, leaf="b", edges=(), matrix=None, forward="")])
def test_nothing_leaves_the_panel(view: NodeView, width: int, height: int) -> None:
    lines = jtv.draw(view, width, height, view.seen).lines
    assert len(lines) <= height
    assert all(cell_len(line.plain) <= width for line in lines)
    assert any(line.plain.strip() for line in lines)


def test_half_of_a_low_panel_is_numbers() -> None:
    tall = replace(RELU, arrives=(replace(V, window=V.window * 8),))
    lines = plain(jtv.draw(tall, 60, 12).lines)
    assert sum(line.lstrip().startswith(("+0.125", "+0.062")) for line in lines) >= 5


def test_the_cursor_goes_through_the_inputs_that_need_a_gradient() -> None:
    panel = jtv.JtvPanel()
    panel.assign(ADD)
    asked = []
    for by in (-1, -1, 5):
        panel.move(by)
        request = panel.request()
        assert isinstance(request, LookNode)
        asked.append(request.edge)
        panel.assign(replace(ADD, seen=request.edge))
    assert asked == [0, 0, 1]


def test_another_node_is_not_asked_what_costs_much() -> None:
    panel = jtv.JtvPanel()
    panel.assign(RELU)
    assert panel.check() == "J is compared with finite differences"
    panel.insist()
    request = panel.request()
    assert isinstance(request, LookNode)
    assert (request.check, request.run, request.insist) == (True, True, True)
    panel.assign(replace(ADD, number=9))
    request = panel.request()
    assert isinstance(request, LookNode)
    assert (request.check, request.run, request.insist, request.edge) == (False, False, False, -1)


STRIP = Strip(
    "row",
    7,
    (1, 3),
    8192,
    (16, 512),
    (0.5, -0.25, 0.0),
    True,
    ((0, 3), (2, 3)),
    3,
    1.25,
    (((0, 3), 0.5), ((1, 3), -0.25)),
    "Jᵀe by one run",
)


def with_strip(strip: Strip) -> NodeView:
    return replace(RELU, matrix=replace(RELU.matrix, rows=4096, columns=8192, strip=strip))


def test_a_row_of_a_large_j_is_a_strip_with_what_it_is_and_how_it_was_had() -> None:
    lines = text(with_strip(STRIP), 90).splitlines()
    start = next(i for i, line in enumerate(lines) if "row 7 of J" in line)
    assert lines[start].strip() == "row 7 of J 4,096×8,192: ∂ y[1, 3] / ∂ each of x 16×512"
    assert lines[start + 1].strip() == "[0, 3] +█−▒ 0 [2, 3]"
    assert lines[start + 2].strip() == "largest: [0, 3] +0.5000  [1, 3] −0.2500"
    assert lines[start + 3].strip() == "3 of 8,192 nonzero, and only those are drawn; norm 1.250; Jᵀe by one run"


def test_a_column_is_of_an_element_of_the_input_and_what_there_is_not_is_said() -> None:
    drawn = text(with_strip(replace(STRIP, direction="column", shape=(16, 256))), 90)
    assert "column 7 of J 4,096×8,192: ∂ each of y 16×256 / ∂ x[1, 3]" in drawn
    refused = text(with_strip(Strip("row", -1, (9, 9), note="the output has shape (2, 3): no element [9, 9]")), 90)
    assert "row of J" in refused
    assert "no element [9, 9]" in refused


@pytest.mark.parametrize("width", [20, 31, 45, 80])
def test_a_strip_fits_whatever_room_there_is(width: int) -> None:
    long = replace(STRIP, window=(0.5, float("nan"), float("-inf")) * 80, greatest=STRIP.greatest * 9)
    lines = jtv.draw(with_strip(long), width, 20, 0).lines
    assert all(cell_len(line.plain) == width for line in lines)
