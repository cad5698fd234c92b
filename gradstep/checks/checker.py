"""Runs the checks at each phase of a loop, and collects what they have found."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache, cached_property
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules, walk_packages
from typing import Any, NamedTuple

import torch
from msgspec.structs import replace

import gradstep.checks
from gradstep.checks import requests
from gradstep.checks.check import Check, Moment, Seen, sampled
from gradstep.checks.order import Order
from gradstep.checks.requests.request import Request, on_a_copy
from gradstep.checks.settings import project_settings
from gradstep.engine.held import Held
from gradstep.engine.observe.functions import unobserved
from gradstep.engine.observe.observer import observe
from gradstep.engine.observe.stream import Consumer
from gradstep.values.errors import wrong
from gradstep.values.findings import SEVERITIES, Finding, Rule
from gradstep.values.nearest import did_you_mean
from gradstep.workload import Workload

ALWAYS = 5
"""Iterations in which every check runs, whatever it costs."""
SHARE = 0.01
"""Share of the running time that the checks may take after these; over it, iterations are left out."""
FREE = 0.5
"""Seconds that they may take in any case: a short run is checked throughout."""


_FIRST = 40
"""Phases of a name after which every `first` of a check is over."""

_Method = Callable[[Moment], Iterable[Seen]]


class _Methods(NamedTuple):
    """The methods of the checks that look at a phase, by the name of their rule."""

    always: list[tuple[str, _Method]]
    """Those that look at each of them."""
    all: list[tuple[str, _Method]]
    firsts: list[float]
    """How many of the first ones each of `all` looks at; later ones are sampled."""


@cache
def all_checks() -> Mapping[str, type[Check]]:
    """Return every check by the id of its rule: those in this package, and those of other packages' entry points."""
    found: dict[str, type[Check]] = {}
    for module in walk_packages(gradstep.checks.__path__, "gradstep.checks."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Check) and value is not Check and hasattr(value, "rule"):
                found[value.rule.id] = value
    for entry in entry_points(group="gradstep.checks"):
        made = entry.load()
        found[made.rule.id] = made
    return dict(sorted(found.items(), key=lambda each: (SEVERITIES.index(each[1].rule.severity), each[0])))


@cache
def all_requests() -> Mapping[str, type[Request]]:
    """Return every check on request by the word that asks for it: the name of its file."""
    found: dict[str, type[Request]] = {}
    for module in iter_modules(requests.__path__):
        for value in vars(import_module(f"{requests.__name__}.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, Request) and value is not Request:
                found[module.name.replace("_", "-")] = value
    return found


def rule_of(name: str) -> Rule:
    """Return the rule with an id.

    Raises:
        GradstepError: there is none; the nearest ids are offered.
    """
    rules: dict[str, Rule] = {each.rule.id: each.rule for each in all_checks().values()}
    rules |= {each.rule.id: each.rule for each in all_requests().values()}
    if name not in rules:
        remedy = did_you_mean(name, rules) or "`gradstep checks` lists them."
        raise wrong(f"there is no check called {name}", "", remedy, name)
    return rules[name]


class Checker:
    """Runs the checks on one loop.

    Args:
        off: the ids of rules that are switched off.
        thresholds: thresholds in place of the rules' own, by id.
        script: True for a script, False for a held workload.
    """

    def __init__(
        self, off: Iterable[str] = (), thresholds: Mapping[str, float] | None = None, script: bool = False
    ) -> None:
        project = project_settings()
        self.off = {*project.off, *off} & all_checks().keys()
        self._thresholds = {**project.thresholds, **(thresholds or {})}
        self.fault = project.fault
        """What is wrong with the project's settings; empty for nothing."""
        self._script = script
        self.findings: dict[tuple[str, str], Finding] = {}
        """By rule and place, in the order in which they were first seen."""
        self.new: list[str] = []
        """The rules of findings that the last phase has added."""
        self._told = True
        """True once a phase has ended: what is found after that is new."""
        self.failed: dict[str, str] = {}
        """The checks that raised, which is a fault of theirs, each with what: they are not run again."""
        self._began = time.perf_counter()
        self._spent = 0.0
        self._iteration, self._looks = -1, True
        self.forget()

    def forget(self) -> None:
        """Forget what checks remember of earlier phases, not what they have found: the loop is elsewhere now."""
        for name in ("_checks", "_watchers"):
            vars(self).pop(name, None)
        self._methods: dict[tuple[str, str], _Methods] = {}
        """By phase and edge."""
        self._silent: set[str] = set()
        """The rules that it has left out: those that are off, or have failed."""
        self._counts: Counter[str] = Counter()
        self._order = Order()
        self._memory: dict[str, Any] = {}

    @cached_property
    def _checks(self) -> dict[str, Check]:
        """The checks by the id of their rule, with what they remember since `forget`: created when next needed."""
        return {name: kind(self._thresholds.get(name)) for name, kind in all_checks().items()}

    @cached_property
    def _watchers(self) -> list[tuple[str, Check]]:
        """Those that may observe a forward."""
        return [(name, each) for name, each in self._checks.items() if type(each).watches is not Check.watches]

    def switch(self, name: str, on: bool) -> str:
        """Switch a rule on or off; return what to print.

        Raises:
            GradstepError: there is no such rule.
        """
        if name not in self._checks:
            raise wrong(f"{rule_of(name).id} can't be switched", "it runs on request only", "", name)
        if on:
            self.off.discard(name)
        else:
            self.off.add(name)
            self.findings = {key: each for key, each in self.findings.items() if key[0] != name}
        return f"{name} is {'on' if on else 'off'}"

    def request(self, name: str, held: Held, copies: Callable[[], Workload]) -> str:
        """Run a check on request on a copy of what is trained; return what to print.

        Raises:
            GradstepError: there is no such check, or it can't be run on this.
        """
        check = all_requests()[name]()
        with on_a_copy(held, copies) as trial:
            answer = check.run(trial)
        if answer.seen is not None:
            self._report(check.rule, answer.seen, self.moment("forward", held, held.point.iteration))
        return answer.text

    def set_threshold(self, name: str, value: float) -> str:
        """Set the threshold of a rule; return what to print.

        Raises:
            GradstepError: there is no such rule, or it has no threshold.
        """
        rule = rule_of(name)
        if rule.threshold is None:
            raise wrong(
                f"{name} has no threshold", "it is decided without one", f"`check off {name}` silences it", name
            )
        self._thresholds[name] = value
        self._checks[name].threshold = value
        return f"the threshold of {name} is {value:g} {rule.unit}".rstrip()

    @property
    def rows(self) -> tuple[Finding, ...]:
        """The findings, errors first."""
        return tuple(sorted(self.findings.values(), key=lambda each: (SEVERITIES.index(each.severity), each.first)))

    def due(self, iteration: int) -> bool:
        """Return whether the checks look at the phases of an iteration: all of them, or none."""
        if iteration != self._iteration:
            self._iteration = iteration
            spare = FREE + SHARE * (time.perf_counter() - self._began)
            looked, self._looks = self._looks, iteration < ALWAYS or self._spent <= spare
            if self._looks and not looked:
                self._order = Order(whole=False)
        if not self._looks:
            self.new = []
        return self._looks

    def begins(self, moment: Moment) -> None:
        """Have the checks look at a phase that begins."""
        self._begin_anew()
        self._order.begins(moment.phase, moment.held, moment.of, bool(moment.written))
        self._run(moment, "begins")

    def ended(self, moment: Moment) -> None:
        """Have the checks look at a phase that has ended."""
        self._begin_anew()
        self._run(moment, "ended")
        self._order.ended(moment.phase, moment.held, moment.of, moment.find_site)
        self._counts[moment.phase] += 1
        self._told = True

    def _begin_anew(self) -> None:
        if self._told:
            self.new, self._told = [], False

    def watching(self, moment: Moment, everywhere: bool = False) -> AbstractContextManager[object]:
        """Return the context in which the checks observe a forward; `everywhere` on other threads too."""
        consumers = []
        for name, check in self._watchers:
            if name not in self.off and name not in self.failed:
                consumer = check.watches(moment)
                consumers += [] if consumer is None else [self._guarded(name, consumer)]
        if not consumers:
            return nullcontext()
        return observe(everywhere=consumers, computes=True) if everywhere else observe(*consumers, computes=True)

    def _guarded(self, name: str, consumer: Consumer) -> Consumer:
        """Have a fault of a check not become one of the forward."""

        def guard(told: Callable[[Any], Any]) -> Callable[[Any], None]:
            def call(event: Any) -> None:
                began = time.perf_counter()
                try:
                    with torch.no_grad(), torch._C.DisableTorchFunction():
                        told(event)
                except Exception as error:
                    self.failed[name] = f"{type(error).__name__}: {error}"
                self._spent += time.perf_counter() - began

            return call

        return {kind: guard(told) for kind, told in consumer.items()}

    def moment(self, phase: str, held: Held, iteration: int, **known: object) -> Moment:
        """Return what the checks are given of a phase."""
        count = self._counts[phase]
        own = {"script": self._script, "order": self._order, "memory": self._memory}
        return Moment(phase, held, iteration, count, **own, **known)  # type: ignore[arg-type]

    def _run(self, moment: Moment, edge: str) -> None:
        began = time.perf_counter()
        with unobserved(), torch.no_grad():
            for name, method in self._methods_at(moment, edge):
                try:
                    for each in method(moment):
                        self._report(self._checks[name].rule, each, moment)
                except Exception as error:
                    self.failed[name] = f"{type(error).__name__}: {error}"
        self._spent += time.perf_counter() - began

    def _methods_at(self, moment: Moment, edge: str) -> list[tuple[str, _Method]]:
        """Return the methods of the checks that look at a phase, by the name of their rule."""
        silent = self.off | self.failed.keys()
        if silent != self._silent:
            self._methods, self._silent = {}, silent
        known = self._methods.get((moment.phase, edge))
        if known is None:
            several = [(name, getattr(check, edge)) for name, check in self._checks.items() if name not in silent]
            here = [(name, each) for name, each in several if moment.phase in getattr(each, "phases", (moment.phase,))]
            firsts = [getattr(each, "first", math.inf) for _, each in here]
            always = [each for each, first in zip(here, firsts, strict=True) if first == math.inf]
            known = self._methods[moment.phase, edge] = _Methods(always, here, firsts)
        count = moment.count
        if sampled(count):
            return known.all
        if count > _FIRST:
            return known.always
        return [each for each, first in zip(known.all, known.firsts, strict=True) if count < first]

    def _report(self, rule: Rule, seen: Seen, moment: Moment) -> None:
        key = (rule.id, seen.where.words)
        known = self.findings.get(key)
        if known is not None:
            self.findings[key] = replace(known, last=moment.iteration, count=known.count + 1)
            return
        self.new.append(rule.id)
        self.findings[key] = Finding(
            rule.id,
            seen.severity or rule.severity,
            seen.what,
            rule.why,
            seen.remedy or rule.remedy,
            seen.where,
            dict(seen.evidence),
            moment.iteration,
            moment.iteration,
        )
