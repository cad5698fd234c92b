"""The sentence of a stop inside a phase says what is passed, where it comes from and where it goes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from gradstep.session.local import Session
from gradstep.values.commands import Backward, Break, Forward, Into, Out, Over
from gradstep.values.views import LookWhy, WhyView
from gradstep.workload import Workload


def workload(dtype: torch.dtype = torch.float32) -> Workload:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).to(dtype)
    return Workload(
        model=model,
        loss=lambda out, _: (out * out).sum(),
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
        batches=[(torch.ones(5, 3, dtype=dtype), torch.zeros(5, 2, dtype=dtype))],
    )


@pytest.fixture
def session() -> Iterator[Session]:
    """Return a session; a phase that it is left inside of would keep its hooks on every module."""
    opened = Session(workload())
    yield opened
    opened.close()


def why(session: Session) -> WhyView:
    (view,) = session.look(LookWhy())
    assert isinstance(view, WhyView)
    return view


def test_a_forward_says_what_goes_in_and_what_comes_out(session: Session) -> None:
    session.execute(Into())
    assert why(session).sentence.startswith("Sequential is about to run on 5×3.")
    assert why(session).torch == Forward.torch
    session.execute(Into())
    session.execute(Into())
    view = why(session)
    assert view.sentence == (
        "F.linear ran in 0 Linear: 5×3, 4×3 and 4 → 5×4. It recorded AddmmBackward0, which backward will run."
    )
    assert view.more == ("it used 0.weight and 0.bias",)
    session.execute(Into())
    assert why(session).sentence == "0 Linear has run: 5×3 → 5×4."


def test_an_output_without_a_gradient_says_why() -> None:
    held = workload()
    for parameter in held.model[0].parameters():
        parameter.requires_grad_(False)
    session = Session(held)
    for _ in range(3):
        session.execute(Into())
    sentence = why(session).sentence
    session.close()
    assert sentence.endswith("No node for backward: no input requires grad.")


def test_backward_begins_at_the_loss_with_one(session: Session) -> None:
    session.execute(Forward())
    session.execute(Into())
    view = why(session)
    assert view.about == "#0 SumBackward0"
    assert "the derivative of the loss with respect to itself, 1" in view.sentence
    assert view.torch == Backward.torch


def test_a_node_says_where_v_comes_from_and_what_it_does_to_it(session: Session) -> None:
    session.execute(Forward())
    session.execute(Break("node", "Relu*"))
    session.execute(Backward())
    view = why(session)
    assert "v (5×4) arrives from b + x Wᵀ of 2 Linear (#2)" in view.sentence
    assert view.sentence.endswith("v passes where the output is above 0, and is zeroed elsewhere.")
    assert view.more == ("stopped by breakpoint 1",)
    [line] = view.lines
    assert (line.name, line.formula) == ("Jᵀv for x", "v ⊙ 1[y > 0]")
    assert line.note == "→ b + x Wᵀ of 0 Linear (#7)"
    session.execute(Into())
    assert why(session).lines[0].note.startswith("→ b + x Wᵀ of 0 Linear (#7), norm ")


def test_where_gradients_meet_the_sum_is_said_with_its_addends(session: Session) -> None:
    session.execute(Forward())
    session.execute(Break("node", "MulBackward0", "after"))
    session.execute(Backward())
    assert why(session).sentence == (
        "MulBackward0 (a × b of the loss) has run: it passed Jᵀv on to b + x Wᵀ of 2 Linear (#2)."
    )
    session.execute(Over())
    assert "is the sum of 2 incoming gradients, from a × b of the loss (#1)" in why(session).sentence


def test_a_leaf_says_what_becomes_of_its_grad(session: Session) -> None:
    session.execute(Forward())
    session.execute(Break("grad", "2.bias"))
    session.execute(Backward())
    assert why(session).sentence.endswith("ends at 2.bias: it is about to become its .grad, which is None.")
    session.execute(Into())
    norm = session.look(LookWhy())[0].sentence
    assert norm.startswith("2.bias.grad was written: its norm is now ")
    session.execute(Out(phase=True))
    session.execute(Forward())
    session.execute(Backward())
    assert "it is about to be added to its .grad (norm " in why(session).sentence


def test_after_the_phase_the_sentence_is_of_the_whole_of_it_again(session: Session) -> None:
    session.execute(Forward())
    session.execute(Into())
    session.execute(Out(phase=True))
    assert why(session).sentence.startswith("backward() wrote .grad and nothing else.")


def test_every_input_says_which_node_its_gradient_goes_to_a_parameters_too(session: Session) -> None:
    session.execute(Forward())
    session.execute(Break("node", "AddmmBackward0"))
    session.execute(Backward())
    notes = {line.name: line.note for line in why(session).lines}
    assert notes["Jᵀv for b"] == "→ 2.bias.grad (#3)"
    assert [note.partition(" ")[0] for note in notes.values()] == ["→", "→", "→"]
