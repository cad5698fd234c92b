"""A history in host memory: copies on another device than the model give the same results."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from holding import Fused
from other_device import Away, copies_away
from torch import Tensor
from travelling import Traveller

from gradstep.engine.debuggee.generators import seed_everything
from gradstep.engine.debuggee.loading import build, find_factory
from gradstep.engine.held import Held
from gradstep.engine.history import thinning
from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.steps.language.script import StepsLine
from gradstep.values.expressions import Name
from gradstep.values.views import LookChanges, LookDigest, LookModel, LookWhy, NoView, View
from gradstep.values.views.tensor import LookTensor
from gradstep.values.views.timeline import LookCompare
from gradstep.values.views.training import LookLayers, LookOptimizer

LINES = (
    *("forward", "backward", "step", "forward", "backward", "step", "zero_grad", "next_batch", "set lr = 0.5"),
    *("forward", "backward", "step", "clip grad norm=0.1", "undo 3", "redo", "step", "goto 4", "forward", "backward"),
)
LOOKS = (
    *(LookModel(), LookWhy((0, 0)), LookTensor(opening=Name("last.weight")), LookChanges(), LookLayers()),
    *(LookOptimizer(), LookDigest(), LookCompare("2", "4"), LookCompare("4", "now")),
    LookTensor(opening=Name("last.weight"), quantity="ratio"),
)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    with copies_away(monkeypatch) as made:
        yield made


def adam(**more: object) -> Fused:
    return Fused(lambda p: torch.optim.AdamW(p, lr=0.1), **more)


def story(offload: bool, history: int) -> list[tuple[View, ...]]:
    """Step a workload and return everything that is visible of it after each step."""
    seed_everything(5)
    session = Session(adam().held.workload, device="cpu", seed=5, history=history, history_offload=offload)
    seen = []
    for line in LINES:
        for statement in parse_line(line):
            assert isinstance(statement, StepsLine)
            outcome = session.execute(statement.command)
            assert outcome.ok or not history, outcome.problem
        seen.append(session.look(*LOOKS))
    assert not [view for views in seen[3:] for view in views[:-3] if isinstance(view, NoView)]
    return seen


@pytest.mark.parametrize("history", [1 << 30, 1, 0])
def test_what_is_seen_is_the_same_with_copies_beside_the_model_and_away(
    history: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = story(False, history)
    with copies_away(monkeypatch) as made:
        away = story(True, history)
    assert made
    for one, other in zip(beside, away, strict=True):
        assert one == other


def test_digests_at_every_stop_are_those_first_seen_there(made: list[Tensor]) -> None:
    seed_everything(0)
    held = adam().held
    held.offload = True
    traveller = Traveller.of(held, 1 << 30)
    for step in (
        ("loop", 2),
        ("undo", 3),
        ("redo", 2),
        ("act", "set W = 1.01 * W"),
        ("loop", 1),
        ("goto", 5),
        ("visit", 2),
    ):
        assert traveller.take(*step)
        traveller.check()
    images = [i for p in traveller.timeline.points.values() if p.checkpoint for i in p.checkpoint.images.values() if i]
    assert all(isinstance(image.contents, Away) or image.contents is image.tensor for image in images)
    assert any(isinstance(image.contents, Away) for image in images)
    assert all(type(parameter) is torch.nn.Parameter for _, parameter in held.parameters)


def test_a_rerun_is_compared_wherever_the_copies_are(made: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinning, "SLICE", -1)
    monkeypatch.setattr(thinning, "HASHED", -1)
    seed_everything(0)
    held = adam().held
    held.offload = True
    traveller = Traveller.of(held, 1)
    for step in (("loop", 3), ("goto", 6), ("redo", 1), ("goto", 3)):
        assert traveller.take(*step)
        traveller.check()
    assert any(point.sketch for point in traveller.timeline.points.values())


@pytest.mark.parametrize("place", [1, 2])
def test_a_phase_that_raises_is_undone(place: int, made: list[Tensor]) -> None:
    fused = adam()
    fused.held.offload = True
    traveller = Traveller.of(fused.held, 0)
    assert traveller.take("loop", 2)
    for fuse, line in ((fused.fuse, "forward"), (fused.back, "backward")):
        before = traveller.digest()
        fuse.light(place)
        assert traveller.refusal(line)
        assert traveller.digest() == before
        assert traveller.take("act", line), traveller.refused


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name", ["mlp", "cnn", "gpt"])
def test_on_a_gpu_copies_lie_in_pinned_memory_and_digests_are_those_of_copies_beside_it(name: str) -> None:
    digests = []
    for offload in (False, True):
        seed_everything(0)
        held = Held(build(find_factory(name, ""), name), torch.device("cuda"), offload=offload)
        traveller = Traveller.of(held, 1 << 30)
        for step in (("loop", 3), ("undo", 5), ("redo", 2), ("goto", 3), ("loop", 1), ("visit", 6)):
            assert traveller.take(*step)
            traveller.check()
        digests.append(traveller.digests)
        points = traveller.timeline.points.values()
        kept = [image for p in points if p.checkpoint for image in p.checkpoint.images.values() if image is not None]
        copies = [image.copy for image in kept if image.copy is not None and image.tensor.is_cuda]
        assert copies
        assert {(copy.is_pinned(), copy.is_cuda) for copy in copies} == {(offload, not offload)}
    assert digests[0] == digests[1]
