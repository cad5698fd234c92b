"""The stack of a script: frames, and the variables of the selected one, without running code of the script's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import ref

import torch
from scripting import stepped
from torch import nn
from torch.nn import functional as F

from gradstep.session.script_session import ScriptSession
from gradstep.steps.language.parse import parse_line
from gradstep.steps.language.script import StepsLine
from gradstep.values import commands as cmd
from gradstep.values.outcomes import Outcome
from gradstep.values.views.inside import LookSource, SourceView
from gradstep.values.views.stack import LookStack, StackView, Variable
from gradstep.values.views.tensor import LookTensor, TensorView


class Trap:
    """An object that notices whether its own code is called."""

    def __init__(self) -> None:
        self.size, self._hidden = 3, 4
        self.called: list[str] = []

    def __repr__(self) -> str:
        self.called.append("repr")
        return "trap"

    def __len__(self) -> int:
        self.called.append("len")
        return 1

    def __getattr__(self, name: str) -> Any:
        self.__dict__["called"].append(name)
        raise AttributeError(name)

    @property
    def secret(self) -> int:
        self.called.append("secret")
        return 1


class Pair(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


def look(session: ScriptSession, *opened: str, first: int = 0, count: int = 40) -> StackView:
    (view,) = session.look(LookStack(first, count, opened))
    assert isinstance(view, StackView)
    return view


def variables(view: StackView) -> dict[str, Variable]:
    return {row.name: row for row in view.rows}


def run(session: ScriptSession, line: str) -> Outcome:
    (statement,) = parse_line(line)
    assert isinstance(statement, StepsLine)
    return session.execute(statement.command)


def train(trap: Trap | None = None, many: int = 0) -> Callable[[], None]:
    """Return a loop with a function of its own for the loss."""

    def compute(net: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        hidden = net(batch["x"])
        scale = torch.tensor(2.0)
        loss = F.mse_loss(hidden, batch["y"]) * scale
        loss.backward()
        return loss

    def loop() -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        object_, batch = trap, {"x": torch.ones(5, 4), "y": torch.zeros(5, 3)}
        numbers, text, pair = list(range(100)), "adam", Pair(torch.ones(2), torch.zeros(2))
        ordered, nothing, module = OrderedDict(a=1), None, torch
        rows = [torch.full((2,), float(i)) for i in range(many)]
        for _ in range(3):
            compute(net, batch)
            opt.step()
            opt.zero_grad()
        del object_, numbers, text, pair, ordered, nothing, module, rows

    return loop


def test_the_frames_are_innermost_first_with_their_lines() -> None:
    with stepped(train()) as session:
        run(session, "backward")
        view = look(session)
    assert [frame.source.function for frame in view.frames[:2]] == ["compute", "loop"]
    assert view.frames[0].source.text == "loss.backward()"
    assert view.frames[1].source.text == "compute(net, batch)"
    assert view.selected == 0
    assert not any(frame.library for frame in view.frames)


def test_frames_of_gradstep_and_of_what_called_the_script_are_no_part_of_it() -> None:
    with stepped(train()) as session:
        run(session, "backward")
        # the innermost frame of the test's own that calls the script is `Function.run`
        assert [frame.source.function for frame in look(session).frames] == ["compute", "loop", "run"]


def test_a_tensor_has_its_shape_dtype_device_norm_and_grad_fn() -> None:
    with stepped(train()) as session:
        run(session, "backward")
        rows = variables(look(session))
    assert (rows["hidden"].shape, rows["hidden"].dtype, rows["hidden"].device) == ((5, 3), "float32", "cpu")
    assert rows["hidden"].norm is not None
    assert rows["hidden"].grad_fn == "AddmmBackward0"
    assert rows["scale"].text == "2"
    assert not rows["scale"].requires_grad
    assert rows["loss"].grad_fn == "MulBackward0"
    assert list(rows)[:3] == ["hidden", "scale", "loss"]  # tensors come first


def test_other_values_are_described() -> None:
    with stepped(train()) as session:
        run(session, "step")
        rows = variables(look(session))
    assert rows["numbers"].text == "100 items  [0, 1, 2, 3, 4, 5, …]"
    assert rows["text"].text == "'adam'"
    assert (rows["net"].kind, rows["net"].text) == ("Sequential", "67 parameters")
    assert rows["opt"].text == "lr 0.1"
    assert rows["batch"].text == "2 items  {'x': 5×4 float32, 'y': 5×3 float32}"
    assert rows["pair"].kind == "Pair"
    assert rows["ordered"].text == "1 item  {'a': 1}"
    assert rows["nothing"].text == "None"
    assert "module" not in rows


def test_nothing_of_the_script_is_called() -> None:
    trap = Trap()
    with stepped(train(trap)) as session:
        run(session, "step")
        rows = variables(look(session, "object_"))
        assert rows["object_"].text == "size=3, called=list"
        assert rows[".size"].text == "3"
        assert run(session, "print object_.size").text == "3"
        assert not run(session, "print object_.secret").ok
    assert trap.called == []


def test_an_opened_container_has_its_items_below_it() -> None:
    with stepped(train()) as session:
        run(session, "step")
        view = look(session, "batch")
        place = [row.name for row in view.rows].index("batch")
        items = view.rows[place + 1 : place + 3]
    assert view.rows[place].opened
    assert [(row.name, row.path, row.depth, row.shape) for row in items] == [
        ("'x'", "batch.x", 1, (5, 4)),
        ("'y'", "batch.y", 1, (5, 3)),
    ]


def test_up_down_and_frame_select_what_expressions_and_source_see() -> None:
    with stepped(train()) as session:
        run(session, "backward")
        assert not run(session, "print opt.defaults.lr").ok
        assert "loop" in run(session, "up").text
        assert run(session, "print opt.defaults.lr").text == "0.1"
        (source,) = session.look(LookSource())
        assert isinstance(source, SourceView)
        assert source.lines[source.here - source.first].strip() == "compute(net, batch)"
        assert look(session).selected == 1
        assert "opt" in variables(look(session))
        assert "compute" in run(session, "down").text
        assert "loop" in run(session, "frame 1").text
        assert "loop" in run(session, "frame").text
        run(session, "step")
        assert look(session).selected == 0


def test_there_is_an_end_to_the_frames() -> None:
    with stepped(train()) as session:
        run(session, "backward")
        inner, outer, number = run(session, "down"), run(session, "up 9"), run(session, "frame 7")
        assert look(session).selected == 0
    assert [each.problem.title for each in (inner, outer, number) if each.problem is not None] == [
        "this is the innermost frame",
        "there is no frame further out",
        "there is no frame further out",
    ]


def test_show_takes_a_variable_and_an_item_of_one() -> None:
    with stepped(train()) as session:
        run(session, "backward")
        for line, shape in (("hidden", (5, 3)), ("batch.x", (5, 4)), ("hidden[0]", (3,))):
            assert run(session, f"show {line}").ok
            (view,) = session.look(LookTensor())
            assert isinstance(view, TensorView)
            assert view.shape == shape
        assert variables(look(session))["loss"].path == "loss"
        run(session, "up")
        assert run(session, "show pair[1]").ok
        (view,) = session.look(LookTensor())
        assert isinstance(view, TensorView)
        assert view.shape == (2,)


def test_a_shown_variable_that_the_frame_does_not_have_says_so() -> None:
    with stepped(train()) as session:
        run(session, "backward")
        run(session, "show hidden")
        run(session, "step")
        (view,) = session.look(LookTensor())
    assert "no `hidden` here" in getattr(view, "why", "")


def test_a_window_of_many_variables() -> None:
    with stepped(train(many=50)) as session:
        run(session, "step")
        view = look(session, "rows", first=20, count=10)
        assert len(view.rows) == 10
        assert view.first == 20
        assert view.total > 50
        assert view.rows[0].depth == 1


def test_looking_at_the_variables_changes_nothing() -> None:
    alone: list[torch.Tensor] = []

    def loop() -> None:
        torch.manual_seed(0)
        x = torch.ones(3, requires_grad=True)
        for _ in range(2):
            base = x * 1.0
            part = base[1:]
            base[0] = 5.0  # `part` is a view of what was written in place
            loss = (part.sum() + base.sum()) ** 2
            loss.backward()
        assert x.grad is not None
        alone.append(x.grad)

    loop()
    with stepped(loop) as session:
        while session.ended is None:
            session.execute(cmd.Over())
            look(session)
    assert torch.equal(alone[0], alone[1])


def test_after_an_error_the_frames_are_those_of_the_traceback() -> None:
    def fails(weight: torch.Tensor) -> None:
        wrong = torch.ones(7)
        weight @ wrong

    def loop() -> None:
        net = nn.Linear(3, 2)
        net(torch.ones(1, 3)).sum().backward()
        fails(net.weight)

    with stepped(loop) as session:
        assert not session.execute(cmd.Continue()).ok
        view = look(session)
        assert [frame.source.function for frame in view.frames[:2]] == ["fails", "loop"]
        assert view.frames[0].source.text == "weight @ wrong"
        assert variables(view)["wrong"].shape == (7,)
        assert run(session, "print shape(wrong)").text == "[7]"


def test_values_that_the_script_lets_go_after_a_stop_are_gone() -> None:
    alive: list[bool] = []

    def loop() -> None:
        net = nn.Linear(3, 2)
        for _ in range(3):
            other = torch.zeros(9)
            seen = ref(other)
            net(torch.ones(1, 3)).sum().backward()
            del other
            alive.append(seen() is not None)

    with stepped(loop) as session:
        while session.ended is None:
            session.execute(cmd.Over())
            look(session)
    assert alive == [False] * 3


def test_a_dict_of_locals_that_the_script_holds_stays_as_it_is() -> None:
    found: list[bool] = []

    def loop() -> None:
        net, names = nn.Linear(3, 2), dict[str, Any]()
        for _ in range(2):
            names = locals()
            net(torch.ones(1, 3)).sum().backward()
            found.append("net" in names)

    with stepped(loop) as session:
        while session.ended is None:
            session.execute(cmd.Over())
            look(session)
    assert found == [True, True]


def test_a_tensor_whose_norm_takes_long_has_none() -> None:
    def loop() -> None:
        net, large = nn.Linear(3, 2), torch.ones(1).expand(1 << 25)
        net(torch.ones(1, 3)).sum().backward()
        del large

    with stepped(loop) as session:
        run(session, "backward")
        row = variables(look(session))["large"]
    assert row.shape == (1 << 25,)
    assert row.norm is None
