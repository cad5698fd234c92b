"""The lanes say which edges there are: every one is read back from the drawn text alone."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from counting import calls
from hypothesis import given
from hypothesis import strategies as st

from gradstep.examples import EXAMPLES
from gradstep.session.local import Session
from gradstep.values.commands import Forward, Load
from gradstep.values.views.graph import GraphView, LookGraph
from gradstep.views.graph.groups import FoldedRows, Group, Groups
from gradstep.views.graph.lanes import EVERY, LEAF, NODE, Lanes
from gradstep.workload import Workload

os.environ["HF_HUB_OFFLINE"] = "1"

UP, DOWN = set("│╯╰┤├┴┼"), set("│╮╭┤├┬┼")
STOPS = set("╮╭╯╰┤├┬┴┼")


def unfolded(edges: Sequence[Sequence[int]]) -> FoldedRows:
    """Return the rows of a graph without groups."""
    return FoldedRows(grouped(len(edges), ()), lambda _: False, edges)


def grouped(nodes: int, groups: Sequence[Group]) -> Groups:
    """Return groups of so many nodes."""
    made = Groups.__new__(Groups)
    made.items, made.total = list(groups), nodes
    return made


def draw_lanes(edges: Sequence[Sequence[int]], leaves: Sequence[bool], most: int = 1 << 20) -> list[str]:
    """Return the lanes of every row of a graph."""
    marks = [LEAF if leaf else NODE for leaf in leaves]
    return Lanes(unfolded(edges), most).draw(0, len(edges), marks)


def read(rows: Sequence[str], names: Sequence[int]) -> list[set[int]]:
    """Follow the strokes and the numbers; return the rows that each row's edges lead to, none of them found twice."""
    parts = [re.fullmatch(r"(.*?)(?: (↑?)((?:↓\d+)*))?", row) for row in rows]
    drawn = [part[1] for part in parts if part is not None]
    named = [[names.index(int(n)) for n in re.findall(r"\d+", part[3] or "")] for part in parts if part is not None]
    assert len(drawn) == len(rows)
    width = max(map(len, drawn), default=0)
    grid = [row.ljust(width) for row in drawn]
    own = [next(i for i, c in enumerate(row) if c in "●◆■") for row in drawn]

    def below(row: int, column: int) -> int:
        """Follow a lane down to the node that stands on it."""
        for at in range(row + 1, len(grid)):
            if own[at] == column:
                return at
            assert grid[at][column] in UP, f"the lane ends in the air at row {at}, column {column}"
            assert grid[at][column] in DOWN, f"the lane ends without a node at row {at}, column {column}"
        raise AssertionError("the lane leaves the drawing")

    found: list[list[int]] = []
    for row, line in enumerate(grid):
        ends = []
        for side in (-1, 1):
            at = own[row] + side
            while 0 <= at < width and (at % 2 == 0 or line[at] == "─"):
                if at % 2 == 0 and line[at] in STOPS:
                    ends.append(below(row, at))
                    if line[at] in ("╮╯┤" if side > 0 else "╭╰├"):
                        break
                elif at % 2 == 0 and line[at] == " ":
                    raise AssertionError("the stroke leads nowhere")
                at += side
        later = row + 1 < len(grid) and (own[row + 1] == own[row] or grid[row + 1][own[row]] in UP)
        if later and line[own[row]] in "●■":
            ends.append(below(row, own[row]))
        found.append(ends + named[row])
    arrived = {target for targets in named for target in targets}
    assert arrived == {row for row, part in enumerate(parts) if part is not None and part[2]}, "↑ marks each arrival"
    assert all(len(ends) == len(set(ends)) for ends in found), "an edge is drawn twice"
    return [set(ends) for ends in found]


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[int, ...]]:
    """A graph in execution order: every row but the first is led to by an earlier one that is no leaf."""
    size = draw(st.integers(1, 14))
    edges: list[list[int]] = [[] for _ in range(size)]
    for row in range(1, size):
        inner = [i for i in range(row) if i == 0 or edges[i] or i == row - 1]
        for source in draw(st.lists(st.sampled_from(inner), min_size=1, max_size=4)):
            edges[source].append(row)
    return [tuple(targets) for targets in edges]


@given(graphs(), st.integers(1, 9))
def test_every_edge_of_any_graph_is_read_back_however_few_the_lanes(edges: list[tuple[int, ...]], most: int) -> None:
    rows = draw_lanes(edges, [not targets for targets in edges], most)
    assert read(rows, range(len(edges))) == [set(targets) for targets in edges]
    assert max(len(re.split(" ?[↑↓]", row)[0].rstrip()) for row in rows) <= 2 * (most + 2)


def test_a_lane_that_is_passed_over_is_told_from_one_that_is_joined() -> None:
    passed = draw_lanes([(4, 3), (2,), (5,), (5,), (5,), ()], [False] * 5 + [True])
    joined = draw_lanes([(2, 1), (3, 2), (3,), ()], [False] * 3 + [True])
    assert read(passed, range(6)) == [{4, 3}, {2}, {5}, {5}, {5}, set()]
    assert read(joined, range(4)) == [{2, 1}, {3, 2}, {3}, set()]


def test_edges_beyond_the_last_lane_are_named_by_number() -> None:
    fan = [tuple(range(1, 11)), *[(11,)] * 10, ()]
    rows = draw_lanes(fan, [False] * 11 + [True], 8)
    assert rows[0].endswith(" ↓9↓10")  # those that run last
    assert [place for place, row in enumerate(rows) if "↑" in row] == [9, 10]
    assert max(len(row.split(" ↓")[0]) for row in rows) <= 2 * 8 + 2
    assert read(rows, range(12)) == [set(targets) for targets in fan]


def test_a_window_is_drawn_as_a_part_of_the_whole() -> None:
    size = 3 * EVERY
    edges = [tuple(t for t in (row + 1, row + 2 + row % 7, row + EVERY) if t < size) for row in range(size)]
    lanes = Lanes(unfolded(edges), 8)
    whole = lanes.draw(0, size, [NODE] * size)
    for first, end in ((0, 1), (EVERY - 1, EVERY + 1), (EVERY, EVERY), (2 * EVERY + 5, size), (17, 2 * EVERY)):
        assert lanes.draw(first, end, [NODE] * (end - first)) == whole[first:end]


@st.composite
def nests(draw: st.DrawFn, first: int, end: int, parent: int = -1, depth: int = 0) -> list[Group]:
    """Groups of the nodes from one to another, each followed by those inside it."""
    ends = sorted(draw(st.sets(st.integers(first, end), max_size=6)))
    found: list[Group] = []
    for low, high in pairwise(ends):
        if high - low > 1 and draw(st.booleans()):
            found.append(Group(f"{depth}.{low}", 0, low, high, depth, parent))
            found += draw(nests(low, high, 0, depth + 1)) if depth < 2 else []
    return found


@given(st.data(), st.integers(20, 60), st.integers(1, 5))
def test_lanes_that_share_with_those_of_another_folding_are_drawn_the_same(
    data: st.DataObject, size: int, most: int
) -> None:
    spans = st.sampled_from((1, 1, 1, 2, 3, size))
    edges = [
        tuple(min(node + data.draw(spans), size - 1) for _ in range(data.draw(st.integers(1, 2))))
        if node < size - 1
        else ()
        for node in range(size)
    ]
    groups = grouped(size, data.draw(nests(0, size)))
    lanes, rows, folded = None, None, set[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gradstep.views.graph.lanes.EVERY", 4)
        for turned in data.draw(st.lists(st.sets(st.sampled_from([g.key for g in groups.items] or [""])), max_size=4)):
            folded ^= turned
            before, rows = rows, FoldedRows(groups, lambda group: group.key in folded, edges)  # noqa: B023
            fresh = Lanes(rows, most)
            lanes = fresh if lanes is None or before is None else Lanes(rows, most, lanes, rows.differ(before))
            marks = [NODE] * rows.total
            assert lanes.draw(0, rows.total, marks) == fresh.draw(0, rows.total, marks)
            assert [rows.row_of(rows.node_of(row)) for row in range(rows.total)] == [*range(rows.total)]
            assert vars(lanes) == vars(fresh)


def test_folding_a_group_lays_out_what_is_near_it_however_long_the_graph() -> None:
    took = []
    for size in (10 * EVERY, 100 * EVERY):
        edges = [*((node + 1,) for node in range(size - 1)), ()]
        middle = size // 2 + 5
        groups = grouped(size, [Group("middle", 0, middle, middle + 9, 0, -1)])
        opened, folded = (FoldedRows(groups, lambda _, fold=fold: fold, edges) for fold in (False, True))
        lanes, differ = Lanes(opened), folded.differ(opened)
        took.append(calls(partial(Lanes, folded, 8, lanes, differ)))
    assert took[1] <= took[0] < 8 * EVERY


def text_model(config: Callable[[Any], Any], kind: str) -> Callable[[], Workload]:
    def build() -> Workload:
        import torch
        import transformers

        torch.manual_seed(0)
        model = getattr(transformers, kind).from_config(config(transformers))
        ids = torch.randint(2, 40, (2, 7))
        return Workload(
            model=model.train(),
            compute_loss=lambda m, batch: m(input_ids=batch, labels=batch).loss,
            optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
            batches=[ids],
        )

    return build


def image_model() -> Workload:
    import torch
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(0)
    return Workload(
        model=ResNetForImageClassification(
            ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[2, 2], num_labels=3)
        ).train(),
        compute_loss=lambda m, batch: m(pixel_values=batch[0], labels=batch[1]).loss,
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
        batches=[(torch.randn(2, 3, 16, 16), torch.tensor([0, 1]))],
    )


CAUSAL = "AutoModelForCausalLM"
MODELS: dict[str, Callable[[], Workload]] = {
    "gpt2": text_model(lambda t: t.GPT2Config(vocab_size=40, n_positions=16, n_embd=16, n_layer=3, n_head=2), CAUSAL),
    "llama": text_model(
        lambda t: t.LlamaConfig(
            vocab_size=40,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
        ),
        CAUSAL,
    ),
    "bert": text_model(
        lambda t: t.BertConfig(
            vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        ),
        "AutoModelForMaskedLM",
    ),
    "t5": text_model(
        lambda t: t.T5Config(
            vocab_size=40, d_model=16, d_kv=8, d_ff=32, num_layers=3, num_heads=2, decoder_start_token_id=0
        ),
        "AutoModelForSeq2SeqLM",
    ),
    "resnet": image_model,
}


def after_a_forward(name: str) -> Session:
    if name in MODELS:
        session = Session(MODELS[name]())
    else:
        session = Session()
        assert session.execute(Load(name, seed=0, device="cpu")).ok
    assert session.execute(Forward()).ok
    return session


@pytest.mark.parametrize("name", [*EXAMPLES, *MODELS])
def test_every_edge_of_a_model_is_read_back_whole_folded_and_with_few_lanes(name: str) -> None:
    session = after_a_forward(name)
    nodes = 0
    for level, lanes in ((64, 64), (64, 8), (64, 4), (0, 8), (1, 8), (2, 8), (2, 2), (-1, 8)):
        (view,) = session.look(LookGraph(count=100_000, level=level, lanes=lanes))
        assert isinstance(view, GraphView)
        names = [row.order for row in view.rows]
        edges = [{names.index(target) for target in row.edges} for row in view.rows]
        assert read([row.lanes for row in view.rows], names) == edges
        assert sum(row.nodes for row in view.rows) == view.nodes
        nodes = view.nodes
    assert nodes > 4


def test_a_window_onto_the_graph_is_a_part_of_the_whole() -> None:
    session = after_a_forward("gpt")
    whole, part = session.look(LookGraph(count=10_000), LookGraph(first=7, count=5))
    assert isinstance(whole, GraphView)
    assert isinstance(part, GraphView)
    assert part.rows == whole.rows[7:12]
