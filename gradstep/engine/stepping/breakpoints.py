"""Breakpoints and logpoints: where a running phase stops, or prints and goes on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase

from msgspec.structs import replace

from gradstep.engine.autograd.graph import GraphRecord
from gradstep.engine.expressions.names import NothingThereError
from gradstep.engine.held import Held
from gradstep.engine.observe.compiled import compiled_modules
from gradstep.engine.stepping.nonfinite import KINDS, NonFiniteWatch
from gradstep.engine.stepping.stop_places import StopPlace
from gradstep.values.commands import PHASES, Break
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.expressions import Expression, expression_line
from gradstep.values.nearest import did_you_mean
from gradstep.values.views.inside import Breakpoint

Test = Callable[[Expression], bool]
Tell = Callable[[Expression], str]

_EDGES = {"module": ("enter", "exit"), "node": ("before", "after"), "grad": ("before", "after")}
_STEPPED = ("forward", "backward")
_TOLD = ("node", "grad", "nan", "inf", "phase")
"""Kinds that may stop in a backward: a stop there shows the line that made the node, which the forward records."""


class Breakpoints:
    """The breakpoints of one workload, in the order of their numbers."""

    def __init__(self) -> None:
        self._rows: dict[int, Breakpoint] = {}
        self._next = 1
        self._said: set[int] = set()
        """The breakpoints that were reported to match nothing."""
        self._nonfinite = NonFiniteWatch()

    def __iter__(self) -> Iterator[Breakpoint]:
        """Yield them by number."""
        return iter(self._rows.values())

    # -- setting -------------------------------------------------------------------------------------------------------
    def add(self, command: Break, held: Held | None) -> str:
        """Set one; return it with its number, as gdb does. The same one is not set twice: it is enabled again.

        Raises:
            GradstepError: it can't match anything; the nearest names are offered.
        """
        if held is not None:  # of a script that has shown no model yet, nothing can be checked
            _check(command, held)
            held.recording.lines = held.recording.lines or command.kind in _TOLD
        row = Breakpoint(
            self._next,
            command.kind,
            command.what,
            command.edge,
            command.condition,
            command.log,
            command.ignore,
            passing=command.passing,
        )
        there = next((each for each in self if replace(row, ignore=each.ignore).line == each.line), None)
        self._next += there is None
        row = row if there is None else replace(there, ignore=row.ignore, enabled=True)
        self._rows[row.number] = row
        already = " (already set)" if there is not None else ""
        kind = "logpoint" if command.passing else "breakpoint"
        made = f"{kind} {row.number}{already}: {row.line.split(' ', 1)[1]}"
        return "\n".join(filter(None, [made, "" if held is None else _out_of_reach(row, held)]))

    def delete(self, number: int) -> str:
        """Delete one, or all of them with 0."""
        if not number:
            count = len(self._rows)
            self._rows.clear()
            return f"{count} deleted"
        self._need(number)
        del self._rows[number]
        return f"breakpoint {number} deleted"

    def enable(self, number: int, on: bool) -> str:
        """Enable or disable one, or all of them with 0."""
        for row in [self._need(number)] if number else list(self):
            self._rows[row.number] = replace(row, enabled=on)
        return f"{f'breakpoint {number}' if number else 'breakpoints'} {'enabled' if on else 'disabled'}"

    def ignore(self, number: int, count: int) -> str:
        """Pass the next hits of one by."""
        self._rows[number] = replace(self._need(number), ignore=count)
        return f"breakpoint {number} passes its next {count} hit{'s' * (count != 1)} by"

    def _need(self, number: int) -> Breakpoint:
        if number not in self._rows:
            known = ", ".join(str(n) for n in self._rows)
            remedy = f"The breakpoints are {known}." if known else "There are none: `break node Relu*` sets one."
            raise wrong(f"there is no breakpoint {number}", "", remedy, str(number))
        return self._rows[number]

    @property
    def armed(self) -> bool:
        """True while one of them is enabled."""
        return bool(self._rows) and any(row.enabled for row in self)

    # -- hitting -------------------------------------------------------------------------------------------------------
    def unmatched(self, graph: GraphRecord) -> Iterator[str]:
        """Yield a note, once, for each breakpoint that was set before there was a graph and matches no node of it."""
        for row in self:
            fault = _node_fault(row.what, graph) if row.kind == "node" and row.enabled else None
            if fault is not None and row.number not in self._said:
                self._said.add(row.number)
                yield f"breakpoint {row.number} is not met: {fault.problem.title}. {fault.problem.remedy}".strip()

    def inside(self, phase: str, inner: bool = False) -> bool:
        """Return whether one of them could stop inside a phase, so that it has to be watched."""
        return bool(self._rows) and any(row.watches(phase, inner) for row in self)

    @property
    def watch_numbers(self) -> bool:
        """True while one of them is for NaN or infinity."""
        return any(row.kind in KINDS and row.enabled for row in self)

    def at(self, here: StopPlace, first: bool, test: Test, tell: Tell, notes: list[str]) -> str:
        """Count the hits at a place; return why it stops there, empty when nothing stops it.

        Args:
            here: the place.
            first: True for the first place of the phase.
            test: evaluates a condition there.
            tell: evaluates what a logpoint prints there.
            notes: what logpoints print is added to it.
        """
        bad = self._nonfinite.at(here, first) if self.watch_numbers else {}
        reasons: list[str] = []
        for row in list(self):
            found = bad.get(row.kind, "") if row.kind in KINDS else ""
            if found or _matches(row, here, first):
                reason = self._hit(row, _place(here), test, tell, notes)
                reasons += [f"{reason}: {found}" if found else reason] if reason else []
        return next(iter(reasons), "")

    def after(
        self,
        phase: str,
        iteration: int,
        updates: bool,
        test: Test,
        tell: Tell,
        notes: list[str],
        found: Sequence[str] = (),
    ) -> str:
        """Count the hits at the end of a phase; return why it stops there, empty where it does not.

        Args:
            phase: the phase.
            iteration: the iteration.
            updates: True for the phase that ends an iteration: the step, or in a loop without one its backward.
            test: evaluates a condition.
            tell: evaluates what a logpoint prints.
            notes: what logpoints print is appended here.
            found: the rules of the faults that checks have found in the phase.
        """
        reasons = [
            self._hit(row, phase, test, tell, notes)
            for row in list(self)
            if row.kind == "when"
            or (row.kind == "iteration" and updates and row.what == str(iteration))
            or (row.kind == "phase" and phase == row.what and phase not in _STEPPED)
            or (row.kind == "finding" and (row.what in found if row.what else bool(found)))
        ]
        return next((reason for reason in reasons if reason), "")

    def at_line(self, place: str, numbers: Sequence[int], test: Test, tell: Tell, notes: list[str]) -> str:
        """Count the hits of the breakpoints at a source line; return why it stops there."""
        reasons = [
            self._hit(self._rows[number], place, test, tell, notes) for number in numbers if number in self._rows
        ]
        return next((reason for reason in reasons if reason), "")

    def _hit(self, row: Breakpoint, place: str, test: Test, tell: Tell, notes: list[str]) -> str:
        if not row.enabled:
            return ""
        try:
            if row.condition is not None and not test(row.condition):
                return ""
        except GradstepError as error:
            if row.kind == "when" or isinstance(error, NothingThereError):  # a name without a value yet does not hit
                return ""
            return f"breakpoint {row.number}: its condition can't be evaluated: {error.problem.title}"
        self._rows[row.number] = replace(row, hits=row.hits + 1, ignore=max(0, row.ignore - 1))
        if row.ignore:
            return ""
        if row.passing:
            notes.append(_said(row, place, tell))
            return ""
        return f"breakpoint {row.number}"


def _said(row: Breakpoint, place: str, tell: Tell) -> str:
    """Return what a logpoint prints: where it is, and what was asked for."""
    if row.log is None:
        return place
    try:
        return f"{place}: {expression_line(row.log)} = {tell(row.log)}"
    except GradstepError as error:
        return f"{place}: {error.problem.title}"


def _place(here: StopPlace) -> str:
    number = f"#{here.number} " if here.kind == "node" else ""
    what = here.parameter + ".grad" if here.parameter else here.name
    return f"{here.edge} {number}{here.path if here.kind == 'module' else ''} {what}".replace("  ", " ")


def _matches(row: Breakpoint, here: StopPlace, first: bool) -> bool:
    match row.kind:
        case "phase":
            return first and here.phase == row.what
        case "module":
            named = _named(row.what, here.path) or _named(row.what, here.name)
            return here.kind == "module" and here.edge == (row.edge or "enter") and named
        case "node":
            edge = here.kind == "node" and here.edge == (row.edge or "before")
            if row.what.startswith("#"):
                return edge and not here.call and str(here.number) == row.what[1:]
            return edge and (_operation_named(row.what, here.name) or _named(row.what, here.path))
        case "grad":
            return here.parameter != "" and here.edge == (row.edge or "before") and _named(row.what, here.parameter)
        case "when":
            return True
        case _:
            return False


def _out_of_reach(row: Breakpoint, held: Held) -> str:
    """Return why a breakpoint on a module is never hit: it runs inside a compiled region; empty where it may be."""
    if row.kind != "module":
        return ""
    compiled = {held.paths[module] for module in compiled_modules(held.paths)}
    matched = [path for path, kind in held.kinds.items() if _named(row.what, path) or _named(row.what, kind)]
    around = [next((head for head in compiled if path != head and _is_in(path, head)), None) for path in matched]
    if None in around or not around:
        return ""
    region = f"{around[0]} {held.kinds[around[0] or '']}".strip()
    return (
        f"it is not hit: `{region}` is compiled, and runs as one operation (torch.compiler.set_stance('force_eager'))"
    )


def _is_in(path: str, head: str) -> bool:
    return not head or path.startswith(f"{head}.")


def _named(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern)


def _operation_named(pattern: str, name: str) -> bool:
    """Return whether a pattern is for a node of this name, or for its operation: `relu` is for `ReluBackward0`."""
    return fnmatchcase(name, pattern) or fnmatchcase(_operation(name).lower(), pattern.lower())


def _operation(name: str) -> str:
    return re.sub(r"Backward\d*$", "", name)


def _node_names(graph: GraphRecord) -> list[str]:
    """Return what the nodes of a graph can be called by: their names, their operations, the modules that made them."""
    names = sorted({node.name() for node in graph.nodes})
    modules = sorted({owner for owner in graph.owners if owner})
    return list(dict.fromkeys([*names, *map(_operation, names), *modules]))


def _check(command: Break, held: Held) -> None:
    """Refuse what can't match anything.

    Raises:
        GradstepError: with the nearest names.
    """
    what, edges = command.what, _EDGES.get(command.kind, ())
    if command.edge and command.edge not in edges:
        raise wrong(
            f"`{command.edge}` does not fit a {command.kind}",
            "",
            f"Write {' or '.join(f'`{e}`' for e in edges)}." if edges else "Leave it out.",
            command.edge,
        )
    known: list[str]
    match command.kind:
        case "phase":
            known = list(PHASES)
        case "module":
            known = [*filter(None, held.paths.values()), *sorted(set(held.kinds.values()))]
        case "grad":
            known = [name for name, _ in held.parameters]
        case "node":
            fault = _node_fault(what, held.graph())
            if fault is not None:
                raise fault
            return
        case "iteration":
            if not what.isdigit() or int(what) <= held.point.iteration:
                raise wrong(
                    f"iteration {what} can't be reached",
                    f"{held.point.iteration} steps are taken already",
                    "name a later one",
                    what,
                )
            return
        case _:
            return
    if not any(_named(what, name) for name in known):
        raise _not_called(command.kind, what, known)


def _node_fault(what: str, graph: GraphRecord | None) -> GradstepError | None:
    """Return why no node can be meant; None where one is, and without a graph: any name and number may come."""
    if what.startswith("#"):
        if not what[1:].isdigit():
            remedy = "A node is named by its number, `#12`, or its name, `Relu*`."
            return wrong(f"`{what}` is no node", "", remedy, what)
        if graph is None or int(what[1:]) < len(graph.nodes):
            return None
        said = f"the graph of the last loss has {len(graph.nodes)} nodes"
        return wrong(f"there is no node {what}", said, f"The last one is #{len(graph.nodes) - 1}.", what)
    known = [] if graph is None else _node_names(graph)
    met = graph is None or any(_operation_named(what, name) for name in known)
    return None if met else _not_called("node", what, known)


def nodes_named(what: str, graph: GraphRecord) -> list[int]:
    """Return the nodes that `#12`, a name, an operation, a module or a glob of one is for.

    Raises:
        GradstepError: it is for none; the nearest names are offered.
    """
    fault = _node_fault(what, graph)
    if fault is not None:
        raise wrong(fault.problem.title, "", fault.problem.remedy, what)
    if what.startswith("#"):
        return [int(what[1:])]
    owners = enumerate(graph.owners)
    return [i for i, own in owners if _operation_named(what, graph.nodes[i].name()) or (own and _named(what, own))]


def _not_called(kind: str, what: str, known: list[str]) -> GradstepError:
    few = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
    remedy = did_you_mean(what.strip("*?"), known) or f"There are {few}."
    return wrong(f"no {kind} is called `{what}`", "a breakpoint there would never be hit", remedy, what)
