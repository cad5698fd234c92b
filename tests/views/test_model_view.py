"""A window of the Model view is that part of the whole tree, whatever was added to the model or removed since."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gradstep.engine.held import Held
from gradstep.engine.reads import Reading, read
from gradstep.tui.panels.model import draw
from gradstep.values.views import LookModel, ModelView
from gradstep.views.training.model import ModelViewer
from gradstep.workload import Workload


def hold(model: nn.Module) -> Held:
    batch = torch.ones(3, 4), torch.zeros(3, 2)
    return Held(
        Workload(model, nn.functional.mse_loss, lambda p: torch.optim.SGD(p, lr=0.1), [batch]), torch.device("cpu")
    )


def nothing() -> Reading[frozenset[str]]:
    yield from ()
    return frozenset()


def look(viewer: ModelViewer, request: LookModel | None = None, selected: str = "") -> ModelView:
    viewer.expire()
    return read(viewer.view(1, selected, nothing(), request=request))


def tree(depths: list[int]) -> nn.Module:
    """Return a model whose modules have these depths, each at most one deeper than the one before."""
    around: list[nn.Module] = [nn.Linear(1, 1)]
    for number, wanted in enumerate(depths):
        del around[wanted:]
        child: nn.Module = nn.Linear(1, 1) if number % 3 else nn.BatchNorm1d(1)
        around[-1].add_module(f"m{number}", child)
        around.append(child)
    return around[0]


@given(st.lists(st.integers(1, 6), max_size=30), st.integers(0, 60), st.integers(1, 40))
def test_a_window_is_drawn_as_that_part_of_the_whole_tree(depths: list[int], first: int, count: int) -> None:
    viewer = ModelViewer(hold(tree(depths)))
    whole, part = look(viewer), look(viewer, LookModel(first, count))
    assert (whole.first, whole.total, whole.after) == (0, len(whole.rows), 0)
    assert part.rows == whole.rows[part.first : part.first + len(part.rows)]
    assert (part.total, len(part.rows)) == (whole.total, min(count, whole.total))
    assert part.first == max(0, min(first, whole.total - count))
    height = len(part.rows) + (2 if len(part.rows) > 3 else 1)  # the header, and from 6 rows on the line at the end
    assert draw(part, 60, height, part.first, part.first).lines == draw(whole, 60, height, part.first, part.first).lines


def test_a_window_around_a_row_has_it_in_its_middle() -> None:
    viewer = ModelViewer(hold(nn.Sequential(*(nn.Linear(1, 1) for _ in range(50)))))
    view = look(viewer, LookModel(0, 11, "30.weight"), "49.bias")
    assert view.rows[5].path == "30.weight"
    assert (view.near, view.at, view.first) == ("30.weight", view.first + 5, view.at - 5)
    assert (view.selected, view.selected_row) == ("49.bias", view.total - 1)
    gone = look(viewer, LookModel(7, 11, "50.weight"), "50.bias")
    assert (gone.first, gone.at, gone.selected, gone.selected_row) == (7, -1, "", -1)


def replaced(model: nn.Module) -> None:
    model[1].running_mean = model[1].running_var


def renamed(model: nn.Module) -> None:
    model._modules["last"] = model._modules.pop("2")


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "a module added": lambda model: model.add_module("more", nn.Linear(1, 1)),
    "a module added to one without": lambda model: model[0].add_module("more", nn.Linear(1, 1)),
    "a module replaced": lambda model: setattr(model, "0", nn.Tanh()),
    "a module removed": lambda model: delattr(model, "2"),
    "a module renamed": renamed,
    "a buffer added": lambda model: model[0].register_buffer("more", torch.ones(2)),
    "a buffer replaced": replaced,
    "a buffer set to None": lambda model: setattr(model[1], "running_mean", None),
    "a parameter added": lambda model: setattr(model[2], "more", nn.Parameter(torch.ones(3))),
    "a parameter resized": lambda model: setattr(model[2].weight, "data", torch.ones(5, 4)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_model_is_seen(change: str) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    held = hold(model)
    viewer = ModelViewer(held)
    before = look(viewer)
    CHANGES[change](model)
    after = look(viewer)
    assert after != before
    assert after == look(ModelViewer(held))
