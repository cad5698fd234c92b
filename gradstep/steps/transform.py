"""What the rules of commands become: the values of gradstep.values."""

# ruff: noqa: D102 (each method is the rule of its name in the grammar)

from __future__ import annotations

import re
from typing import Any, cast

from lark import Token, v_args

from gradstep.steps.faults import MisfitError
from gradstep.steps.terms import ToTerms, integer, place, positive, truth, unquote
from gradstep.steps.words import BY_WORD, SETTINGS
from gradstep.values import commands as c
from gradstep.values import expressions as x
from gradstep.values.nearest import did_you_mean

NO_CHANGE = ("It makes a change, and does the same again after it.", "Write, for instance: try set lr = 0.01")
"""What is said of a `try` that changes nothing, and the remedy."""


@v_args(inline=True)
class ToValues(ToTerms):
    """Builds commands, and the expressions in them, the values of gradstep.values."""

    # headers
    def repeat(self, _word: Token, count: Token) -> int:
        value = integer(count)
        if value < 1:
            raise MisfitError(
                "`repeat 0` does nothing", "", "Repeat at least once, or put a # before it.", *place(count)
            )
        return value

    def expect_error(self, _word: Token, _error: Token, text: Token) -> str:
        return unquote(text)

    # commands
    def load(self, _word: Token, target: str, *options: tuple[Token, Token]) -> c.Load:
        given = _options("load", options)
        seed = given.get("seed")
        return c.Load(target, None if seed is None else integer(seed), str(given.get("device", "auto")))

    def phase(self, word: Token, *options: tuple[Token, Token]) -> c.Command:
        given = _options(str(word), options)
        match str(word):
            case "forward":
                return c.Forward()
            case "backward":
                return c.Backward(truth(given["retain_graph"])) if given else c.Backward()
            case "step":
                return c.Step()
            case "zero_grad":
                return c.ZeroGrad(truth(given["set_to_none"])) if given else c.ZeroGrad()
            case _:
                return c.NextBatch()

    def show(self, _word: Token, what: x.Expression) -> c.Show:
        return c.Show(what)

    def let(self, _word: Token, name: Token, value: x.Expression) -> c.Let:
        if not x.is_word(name):
            raise MisfitError(
                f"`{name}` cannot be a name", "It means something already.", "Choose another.", *place(name)
            )
        return c.Let(str(name), value)

    def expect(self, _word: Token, condition: x.Expression) -> c.Expect:
        return c.Expect(condition)

    def print(self, _word: Token, value: x.Expression) -> c.Print:
        return c.Print(value)

    def why(self, _word: Token, what: x.Expression) -> c.WhyNone:
        return c.WhyNone(what)

    def check(self, _word: Token, what: Token | None) -> c.Check:
        return c.Check("" if what is None else str(what))

    def watch(self, _word: Token, value: x.Expression) -> c.Watch:
        return c.Watch(value)

    def unwatch(self, _word: Token, number: Token | None = None) -> c.Unwatch:
        return c.Unwatch() if number is None else c.Unwatch(integer(number))

    def set(self, _word: Token, target: x.Expression, value: x.Expression) -> c.Set | c.Assign:
        if isinstance(target, x.Name) and target.name in SETTINGS:
            return c.Set(target.name, value)
        return c.Assign(target, value)

    def into(self, _word: Token, phase: Token | None = None) -> c.Into:
        if phase is not None and phase not in ("forward", "backward"):
            what = "It is one call of torch, with nothing to stop at inside."
            raise MisfitError(f"`{phase}` can't be stepped into", what, "Write `into forward`.", *place(phase))
        return c.Into(cast(Any, str(phase or "")))

    def over(self, _word: Token) -> c.Over:
        return c.Over()

    def out(self, _word: Token, whole: Token | None = None) -> c.Out:
        return c.Out(whole is not None)

    def continue_(self, _word: Token) -> c.Continue:
        return c.Continue()

    def until(self, _word: Token, condition: x.Expression) -> c.Until:
        return c.Until(condition)

    def pause(self, _word: Token, place: Token, modules: Token | None = None) -> c.Pause:
        return c.Pause(positive(place), modules is not None)

    def break_bare(self, word: Token, kind: Token) -> c.Break:
        return c.Break(cast(Any, str(kind)), passing=word == "log")

    def break_when(
        self, word: Token, _kind: Token, condition: x.Expression, *rest: x.Expression | tuple[Token, Token] | None
    ) -> c.Break:
        log, options = _printed(word, rest)
        return c.Break("when", condition=condition, log=log, ignore=_ignored(word, options), passing=word == "log")

    def break_(self, word: Token, kind: Token, what: Token, edge: Token | None, *rest: Any) -> c.Break:
        condition, *more = rest
        log, options = _printed(word, tuple(more))
        if what.startswith("#") and kind != "node":
            raise MisfitError("a number names a node", "", f"Write `break node {what}`.", *place(what))
        return c.Break(
            cast(Any, str(kind)),
            str(what),
            cast(Any, str(edge or "")),
            condition,
            log,
            _ignored(word, options),
            word == "log",
        )

    def delete(self, _word: Token, number: Token | None = None) -> c.Delete:
        return c.Delete() if number is None else c.Delete(integer(number))

    def enable(self, word: Token, number: Token | None = None) -> c.Enable:
        return c.Enable(0 if number is None else integer(number), word == "enable")

    def ignore(self, _word: Token, number: Token, count: Token) -> c.Ignore:
        return c.Ignore(integer(number), integer(count))

    def undo(self, _word: Token, what: Token | None = None) -> c.Undo:
        if what == "phase":
            return c.Undo(phase=True)
        return c.Undo() if what is None else c.Undo(positive(what))

    def redo(self, _word: Token, count: Token | None = None) -> c.Redo:
        return c.Redo() if count is None else c.Redo(positive(count))

    def goto(self, _word: Token, stop: Token) -> c.Goto:
        return c.Goto(integer(stop))

    def back(self, _back: Token, _until: Token, condition: x.Expression) -> c.BackUntil:
        return c.BackUntil(condition)

    def who(self, _who: Token, _wrote: Token, what: x.Expression) -> c.WhoWrote:
        return c.WhoWrote(what)

    def branch(self, _word: Token, name: Token) -> c.Branch:
        return c.Branch(str(name))

    def switch(self, _word: Token, name: Token) -> c.Switch:
        return c.Switch(str(name))

    def compare(self, _word: Token, first: Token, second: Token | None = None) -> c.Compare:
        return c.Compare(str(first)) if second is None else c.Compare(str(first), str(second))

    def diff(self, _word: Token, first: Token, second: Token | None = None) -> c.Diff:
        return c.Diff(str(first)) if second is None else c.Diff(str(first), str(second))

    def freeze(self, word: Token, pattern: Token) -> c.Freeze:
        return c.Freeze(str(pattern), word == "freeze")

    def clip(self, _word: Token, _grad: Token, option: tuple[Token, Token]) -> c.Clip:
        by, limit = option
        if by not in ("norm", "value"):
            raise MisfitError(f"gradients are not clipped by `{by}`", "", "Write norm=1.0 or value=0.5.", *place(by))
        try:
            number = float(limit)
        except ValueError:
            number = -1.0
        if not number >= 0:
            raise MisfitError(f"`{limit}` is no limit", "", "Write a number from 0 on.", *place(limit))
        return c.Clip(cast(Any, str(by)), number)

    def hyper(self, name: Token, value: x.Expression) -> tuple[str, x.Expression]:
        return str(name), value

    def optimizer(self, _word: Token, name: Token, *options: tuple[str, x.Expression]) -> c.UseOptimizer:
        names = [option for option, _ in options]
        twice = next((option for option in names if names.count(option) > 1), None)
        if twice is not None:
            raise MisfitError(f"`{twice}` is given twice", "", "Keep one of them.", *place(name))
        return c.UseOptimizer(str(name), options)

    def mode(self, word: Token) -> c.Mode:
        return c.Mode(word == "train")

    def seed(self, _word: Token, seed: Token) -> c.Seed:
        return c.Seed(integer(seed))

    def file(self, token: Token, path: str) -> c.Checkpoint | c.Restore | c.Export:
        word, over = token.removesuffix("!"), token.endswith("!")
        ending = ".py" if word == "export" else ".safetensors"
        if not path.endswith(ending):
            raise MisfitError(f"`{word}` takes a {ending} file", "", f"Write {word} {path}{ending}", *place(token))
        if word == "checkpoint":
            return c.Checkpoint(path, over=over)
        return c.Restore(path) if word == "restore" else c.Export(path, over=over)

    def try_(self, word: Token, *rest: Any) -> c.Try:
        *options, change = rest
        if not isinstance(change, c.EDITS):
            raise MisfitError("`try` takes a change", *NO_CHANGE, *place(word))
        return c.Try((change,), self.try_block(word, *options).start)

    def try_block(self, _word: Token, *options: tuple[Token, Token]) -> c.Try:
        given = _options("try", options)
        return c.Try((), positive(given["from"]) if given else 0)

    def screenshot(self, word: Token, path: str, *options: tuple[Token, Token]) -> c.Screenshot:
        given = _options("screenshot", options)
        size = given.get("size")
        if size is not None and not re.fullmatch(r"[1-9]\d{0,2}x[1-9]\d{0,2}", size):
            raise MisfitError(f"`{size}` is no size", "", "Write columns and rows: size=120x40.", *place(size))
        return c.Screenshot(path, "" if size is None else str(size), word.endswith("!"))

    def bare(self, text: Token) -> str:
        return str(text)

    def quoted(self, text: Token) -> str:
        value = unquote(text)
        if not value:
            raise MisfitError("the name is empty", "", "", *place(text))
        return value

    def option(self, name: Token, value: Token) -> tuple[Token, Token]:
        return name, value


def _printed(word: Token, rest: tuple[Any, ...]) -> tuple[x.Expression | None, tuple[tuple[Token, Token], ...]]:
    """Return what a logpoint prints, and the options that follow it."""
    log, options = rest[0], tuple(rest[1:])
    if log is not None and word != "log":
        raise MisfitError("a breakpoint prints nothing", "", "Write `log` in place of `break`.", *place(word))
    return log, options


def _ignored(word: Token, options: tuple[tuple[Token, Token], ...]) -> int:
    given = _options(str(word), options)
    return integer(given["ignore"]) if given else 0


def _options(word: str, pairs: tuple[tuple[Token, Token], ...]) -> dict[str, Token]:
    known = [name for name, _ in BY_WORD[word].options]
    given: dict[str, Token] = {}
    for name, value in pairs:
        if name not in known:
            offer = f"Its options are {', '.join(known)}." if known else "It takes no options."
            remedy = did_you_mean(name, known) or offer
            raise MisfitError(f"`{word}` has no option `{name}`", "", remedy, *place(name))
        if name in given:
            raise MisfitError(f"`{name}` is given twice", "", "Keep one of them.", *place(name))
        given[str(name)] = value
    return given
