"""The commands that run no phase and change nothing that is trained; they work at any stop."""

from __future__ import annotations

from msgspec.structs import replace

from gradstep.checks.checker import Checker, all_requests, rule_of
from gradstep.engine.autograd.finite_differences import compare
from gradstep.engine.autograd.function_check import check_function
from gradstep.engine.autograd.saved_values import is_function
from gradstep.engine.diagnose.missing_grad import why_none
from gradstep.engine.expressions.evaluate import FUNCTIONS, describe, evaluate, explain_failure, holds
from gradstep.engine.expressions.names import NothingThereError
from gradstep.engine.expressions.scope import selected_tensor
from gradstep.engine.history.timeline import Timeline
from gradstep.engine.script.stack import Stack
from gradstep.engine.stepping.breakpoints import nodes_named
from gradstep.engine.stepping.watchpoints import kept
from gradstep.session.inspector import Inspector
from gradstep.values import commands as cmd
from gradstep.values.commands import Command
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.expressions import Constant, Expression, expression_line, is_word
from gradstep.values.outcomes import Problem

_CHECKED = 16
"""Maximum number of nodes that one `check` compares."""


def answer(inspector: Inspector, command: Command) -> str:
    """Run a command at the present stop; return its output.

    Raises:
        GradstepError: it can't run here, or an expectation does not hold.
    """
    stepper = inspector.stepper
    match command:
        case cmd.Break():
            return stepper.add(command)
        case cmd.Delete(number):
            return stepper.breakpoints.delete(number)
        case cmd.Enable(number, on):
            return stepper.breakpoints.enable(number, on)
        case cmd.Ignore(number, count):
            return stepper.breakpoints.ignore(number, count)
        case cmd.Pause():
            return stepper.pause(command)
        case cmd.Show(what):
            inspector.selection = inspector.select(what)
            return ""
        case cmd.SelectFrame(number):
            stack = _stack(inspector)
            return stack.select(stack.number if number is None else number)
        case cmd.FrameUp(frames):
            return _stack(inspector).select(_stack(inspector).number + frames)
        case cmd.FrameDown(frames):
            return _stack(inspector).select(_stack(inspector).number - frames)
        case cmd.Let(name, value):
            return _let(inspector, name, value)
        case cmd.Expect(condition, finding):
            if condition is None:
                _expect_finding(inspector, finding)
            else:
                _expect(inspector, condition)
            return ""
        case cmd.Print(value):
            return describe(evaluate(value, inspector.scope))
        case cmd.WhyNone(what):
            return _why_none(inspector, what)
        case cmd.Check(what) if what.startswith(("off ", "on ", "threshold ")):
            return set_check(inspector.checker, what)
        case cmd.Check(what) if what in all_requests():
            inspector.stepper.refuse_inside()
            return inspector.checker.request(what, inspector.held, inspector.copies)
        case cmd.Check(what):
            return _check(inspector, what)
        case cmd.Watch(value):
            return inspector.watches.add(value, inspector.scope)
        case cmd.Unwatch(number):
            return inspector.watches.remove(number)
        case cmd.Set(name, value):
            return _set(inspector, name, value)
        case cmd.Run():
            what = "This session steps a workload, and a script needs an engine of its own."
            line = cmd.line_of(command).removeprefix("run ")
            raise wrong("a training script cannot be run from here", what, f"quit, and run: gradstep {line}")
        case _:
            raise wrong("this needs a screen", cmd.line_of(command), "`gradstep replay` draws it")


def _stack(inspector: Inspector) -> Stack:
    if inspector.stack is None:
        what = "a held workload has no stack: gradstep calls its model"
        raise wrong("only a script has frames to select", what, "`gradstep train.py` steps a script")
    return inspector.stack


def _let(inspector: Inspector, name: str, expression: Expression) -> str:
    if not is_word(name):
        raise wrong("this is not a valid name", name, "use one word of letters, digits and _", name)
    position, timeline = inspector.stepper.position, inspector.timeline
    now = 0 if timeline is None else timeline.number, 0 if position is None else position.place
    undone = name in inspector.let_at and _undone(inspector.let_at[name], now, timeline)
    if not undone and (name in inspector.scope.names() or name in FUNCTIONS):
        raise wrong("the name is taken", name, "`let` never overwrites: choose another name", name)
    value = inspector.scope.lets[name] = kept(evaluate(expression, inspector.scope))
    inspector.let_at[name] = now
    return f"{name} = {describe(value)}"


def _undone(then: tuple[int, int], now: tuple[int, int], timeline: Timeline | None) -> bool:
    """Return whether a `let` made at `then` (a point, and a place inside a phase) has been undone since."""
    if then[0] == now[0]:
        return then[1] > now[1]
    if timeline is None or timeline.current is None:
        return False
    made = timeline.points.get(then[0])
    return made is None or not made.leads_to(timeline.current)


def _why_none(inspector: Inspector, what: Expression) -> str:
    inspector.stepper.refuse_inside()
    path = inspector.select(what).path.removesuffix(".grad")
    tensor = selected_tensor(inspector.scope, path)
    if tensor is None:
        raise wrong(f"`{path}` is none", "only a tensor has a .grad", subject=path)
    return "\n".join(why_none(inspector.held, path, tensor))


def _check(inspector: Inspector, what: str) -> str:
    graph, here = inspector.held.graph(), inspector.scope.stop_place()
    if graph is None:
        raise wrong("there is no graph to check", "forward records it", "run `forward` first")
    if what:
        numbers = nodes_named(what, graph)
    elif here is not None and here.node is not None:
        numbers = [here.number]
    else:
        numbers = [number for number, node in enumerate(graph.nodes) if is_function(node)]
    if not numbers:
        raise wrong("the graph has no custom Function", "", "`check #12` and `check relu` check torch's own nodes")
    lines = []
    for number in numbers[:_CHECKED]:
        node = graph.nodes[number]
        name = f"#{number} {node.name().rsplit('::', 1)[-1]}"
        if is_function(node):
            found = [(name, verdict) for verdict in check_function(node, graph.made.applied)]
        else:
            edges = [edge for edge, (following, _) in enumerate(node.next_functions) if following is not None]
            found = [(f"{name}, input {e}" if len(edges) > 1 else name, compare(node, e)) for e in edges]
        lines += [f"{where}: {verdict.words}" for where, verdict in found]
    more = len(numbers) - _CHECKED
    return "\n".join([*lines, *([f"{more:,} more nodes: name one, such as #{numbers[-1]}"] if more > 0 else [])])


def _expect(inspector: Inspector, condition: Expression) -> None:
    problem = Problem("expectation", "the expectation does not hold", expression_line(condition))
    try:
        if holds(evaluate(condition, inspector.scope)):
            return
        expected, actual, difference = explain_failure(condition, inspector.scope)
    except NothingThereError as error:  # the script may be right and the model wrong
        none = error.problem
        raise GradstepError(replace(problem, actual=none.title, remedy=none.remedy, subject=none.subject)) from error
    raise GradstepError(replace(problem, expected=expected, actual=actual, difference=difference))


def set_check(checker: Checker, what: str) -> str:
    """Switch a check, or set its threshold: `off RULE`, `on RULE`, `threshold RULE NUMBER`.

    Raises:
        GradstepError: there is no such rule, or no such number.
    """
    state, name, *number = what.split()
    if state != "threshold":
        return checker.switch(name, state == "on")
    try:
        return checker.set_threshold(name, float(number[0]))
    except ValueError:
        raise wrong(f"`{number[0]}` is not a number", "", "write a threshold such as 0.05", number[0]) from None


def _expect_finding(inspector: Inspector, rule: str) -> None:
    """Expect a finding of a rule, or with `none` no finding.

    Raises:
        GradstepError: it is not so, or there is no such rule.
    """
    found = inspector.checker.rows
    if rule == "none":
        wanted, missed = "no finding", bool(found)
    else:
        wanted, missed = f"a finding of {rule_of(rule).id}", all(each.rule != rule for each in found)
    if missed:
        actual = "\n".join(f"{each.severity} {each.rule}: {each.what}" for each in found) or "no finding"
        raise GradstepError(
            Problem("expectation", "the expectation does not hold", wanted, expected=wanted, actual=actual)
        )


def _set(inspector: Inspector, name: str, value: Expression) -> str:
    if name != "set_to_none":
        raise wrong("there is no such setting", name, "the only setting is set_to_none", name)
    if not isinstance(value, Constant) or value.value == "none":
        raise wrong("set_to_none is true or false", expression_line(value), "write `set set_to_none = false`", name)
    inspector.set_to_none = value.value == "true"
    return f"zero_grad now sets .grad to {'None' if inspector.set_to_none else 'zeros'}"
