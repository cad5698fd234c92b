"""What each rule of the grammar becomes: commands and expressions, the values of gradstep.values."""

# ruff: noqa: D102 (each method is the rule of its name in the grammar)

from __future__ import annotations

import re
from typing import Any, cast

from lark import Token, Transformer, v_args

from gradstep.steps.faults import MisfitError
from gradstep.steps.words import BY_WORD, SETTINGS
from gradstep.values import commands as c
from gradstep.values import expressions as x
from gradstep.values.nearest import did_you_mean

_LARGEST = 2**63 - 1
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n", "\\t": "\t"}


@v_args(inline=True)
class ToValues(Transformer[Token, object]):
    """Builds commands and expressions, the values of gradstep.values."""

    # headers
    def repeat(self, _word: Token, count: Token) -> int:
        value = _integer(count)
        if value < 1:
            raise MisfitError(
                "`repeat 0` does nothing", "", "Repeat at least once, or put a # before it.", *_place(count)
            )
        return value

    def expect_error(self, _word: Token, _error: Token, text: Token) -> str:
        return _unquote(text)

    # commands
    def load(self, _word: Token, target: str, *options: tuple[Token, Token]) -> c.Load:
        given = _options("load", options)
        seed = given.get("seed")
        return c.Load(target, None if seed is None else _integer(seed), str(given.get("device", "auto")))

    def phase(self, word: Token, *options: tuple[Token, Token]) -> c.Command:
        given = _options(str(word), options)
        match str(word):
            case "forward":
                return c.Forward()
            case "backward":
                return c.Backward(_truth(given["retain_graph"])) if given else c.Backward()
            case "step":
                return c.Step()
            case "zero_grad":
                return c.ZeroGrad(_truth(given["set_to_none"])) if given else c.ZeroGrad()
            case _:
                return c.NextBatch()

    def show(self, _word: Token, what: x.Expression) -> c.Show:
        return c.Show(what)

    def let(self, _word: Token, name: Token, value: x.Expression) -> c.Let:
        if not x.is_word(name):
            raise MisfitError(
                f"`{name}` cannot be a name", "It means something already.", "Choose another.", *_place(name)
            )
        return c.Let(str(name), value)

    def expect(self, _word: Token, condition: x.Expression) -> c.Expect:
        return c.Expect(condition)

    def print(self, _word: Token, value: x.Expression) -> c.Print:
        return c.Print(value)

    def why(self, _word: Token, what: x.Expression) -> c.WhyNone:
        return c.WhyNone(what)

    def watch(self, _word: Token, value: x.Expression) -> c.Watch:
        return c.Watch(value)

    def unwatch(self, _word: Token, number: Token | None = None) -> c.Unwatch:
        return c.Unwatch() if number is None else c.Unwatch(_integer(number))

    def set(self, _word: Token, target: x.Expression, value: x.Expression) -> c.Set | c.Assign:
        if isinstance(target, x.Name) and target.name in SETTINGS:
            return c.Set(target.name, value)
        return c.Assign(target, value)

    def into(self, _word: Token, phase: Token | None = None) -> c.Into:
        if phase is not None and phase not in ("forward", "backward"):
            what = "It is one call of torch, with nothing to stop at inside."
            raise MisfitError(f"`{phase}` can't be stepped into", what, "Write `into forward`.", *_place(phase))
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
        return c.Pause(_positive(place), modules is not None)

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
            raise MisfitError("a number names a node", "", f"Write `break node {what}`.", *_place(what))
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
        return c.Delete() if number is None else c.Delete(_integer(number))

    def enable(self, word: Token, number: Token | None = None) -> c.Enable:
        return c.Enable(0 if number is None else _integer(number), word == "enable")

    def ignore(self, _word: Token, number: Token, count: Token) -> c.Ignore:
        return c.Ignore(_integer(number), _integer(count))

    def undo(self, _word: Token, what: Token | None = None) -> c.Undo:
        if what == "phase":
            return c.Undo(phase=True)
        return c.Undo() if what is None else c.Undo(_positive(what))

    def redo(self, _word: Token, count: Token | None = None) -> c.Redo:
        return c.Redo() if count is None else c.Redo(_positive(count))

    def goto(self, _word: Token, stop: Token) -> c.Goto:
        return c.Goto(_integer(stop))

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
            raise MisfitError(f"gradients are not clipped by `{by}`", "", "Write norm=1.0 or value=0.5.", *_place(by))
        try:
            number = float(limit)
        except ValueError:
            number = -1.0
        if not number >= 0:
            raise MisfitError(f"`{limit}` is no limit", "", "Write a number from 0 on.", *_place(limit))
        return c.Clip(cast(Any, str(by)), number)

    def hyper(self, name: Token, value: x.Expression) -> tuple[str, x.Expression]:
        return str(name), value

    def optimizer(self, _word: Token, name: Token, *options: tuple[str, x.Expression]) -> c.UseOptimizer:
        names = [option for option, _ in options]
        twice = next((option for option in names if names.count(option) > 1), None)
        if twice is not None:
            raise MisfitError(f"`{twice}` is given twice", "", "Keep one of them.", *_place(name))
        return c.UseOptimizer(str(name), options)

    def mode(self, word: Token) -> c.Mode:
        return c.Mode(word == "train")

    def seed(self, _word: Token, seed: Token) -> c.Seed:
        return c.Seed(_integer(seed))

    def file(self, word: Token, path: str) -> c.Checkpoint | c.Restore | c.Export:
        ending = ".py" if word == "export" else ".safetensors"
        if not path.endswith(ending):
            raise MisfitError(f"`{word}` takes a {ending} file", "", f"Write {word} {path}{ending}", *_place(word))
        if word == "checkpoint":
            return c.Checkpoint(path)
        return c.Restore(path) if word == "restore" else c.Export(path)

    def screenshot(self, _word: Token, path: str, *options: tuple[Token, Token]) -> c.Screenshot:
        given = _options("screenshot", options)
        size = given.get("size")
        if size is not None and not re.fullmatch(r"[1-9]\d{0,2}x[1-9]\d{0,2}", size):
            raise MisfitError(f"`{size}` is no size", "", "Write columns and rows: size=120x40.", *_place(size))
        return c.Screenshot(path, "" if size is None else str(size))

    def bare(self, text: Token) -> str:
        return str(text)

    def quoted(self, text: Token) -> str:
        value = _unquote(text)
        if not value:
            raise MisfitError("the name is empty", "", "", *_place(text))
        return value

    def option(self, name: Token, value: Token) -> tuple[Token, Token]:
        return name, value

    # expressions
    def number(self, text: Token) -> x.Number:
        if text.isdigit():
            return x.Number(_integer(text))
        return x.Number(float(text))

    def constant(self, word: Token) -> x.Constant:
        return x.Constant(cast(Any, str(word)))

    def text(self, text: Token) -> x.Text:
        return x.Text(_unquote(text))

    def name(self, name: Token) -> x.Name:
        return x.Name(str(name))

    def quoted_name(self, name: Token) -> x.Name:
        return x.Name("", quoted=name.replace("`", ""))

    def call(self, name: Token, *arguments: object) -> x.Call:
        given = [a for a in arguments if a is not None]
        options = [a for a in given if isinstance(a, tuple)]
        if given[len(given) - len(options) :] != options:
            raise MisfitError("an argument follows an option", "", "Put the options last.", *_place(name))
        plain = cast("tuple[x.Expression, ...]", tuple(a for a in given if not isinstance(a, tuple)))
        return x.Call(str(name), plain, tuple(options))

    def named(self, name: Token, value: x.Expression) -> tuple[str, x.Expression]:
        return str(name), value

    def listing(self, *items: x.Expression | None) -> x.Listing:
        return x.Listing(tuple(i for i in items if i is not None))

    def index(self, base: x.Expression, *items: x.Expression | x.Span | x.Dots) -> x.Index:
        return x.Index(base, items)

    def attribute(self, base: x.Expression, name: Token) -> x.Expression:
        if isinstance(base, x.Name):
            return x.Name(base.name + str(name), base.quoted)
        return x.Attribute(base, str(name)[1:])

    def dots(self, _dots: Token) -> x.Dots:
        return x.Dots()

    def span(self, *parts: x.Expression | None) -> x.Span:
        return x.Span(*parts)

    def binary(self, left: x.Expression, op: Token, right: x.Expression) -> x.Binary:
        return x.Binary(cast(Any, str(op)), left, right)

    def unary(self, op: Token, value: x.Expression) -> x.Unary:
        return x.Unary(cast(Any, str(op)), value)

    def is_none(self, value: x.Expression, *_words: Token) -> x.IsNone:
        return x.IsNone(value)

    def is_not_none(self, value: x.Expression, *_words: Token) -> x.IsNone:
        return x.IsNone(value, negated=True)


def _printed(word: Token, rest: tuple[Any, ...]) -> tuple[x.Expression | None, tuple[tuple[Token, Token], ...]]:
    """Return what a logpoint prints, and the options that follow it."""
    log, options = rest[0], tuple(rest[1:])
    if log is not None and word != "log":
        raise MisfitError("a breakpoint prints nothing", "", "Write `log` in place of `break`.", *_place(word))
    return log, options


def _ignored(word: Token, options: tuple[tuple[Token, Token], ...]) -> int:
    given = _options(str(word), options)
    return _integer(given["ignore"]) if given else 0


def _options(word: str, pairs: tuple[tuple[Token, Token], ...]) -> dict[str, Token]:
    known = [name for name, _ in BY_WORD[word].options]
    given: dict[str, Token] = {}
    for name, value in pairs:
        if name not in known:
            offer = f"Its options are {', '.join(known)}." if known else "It takes no options."
            remedy = did_you_mean(name, known) or offer
            raise MisfitError(f"`{word}` has no option `{name}`", "", remedy, *_place(name))
        if name in given:
            raise MisfitError(f"`{name}` is given twice", "", "Keep one of them.", *_place(name))
        given[str(name)] = value
    return given


def _truth(value: Token) -> bool:
    if value not in ("true", "false"):
        raise MisfitError(f"`{value}` is neither true nor false", "", "Write `true` or `false`.", *_place(value))
    return str(value) == "true"


def _positive(text: Token) -> int:
    value = _integer(text)
    if value < 1:
        raise MisfitError("this is no number of commands", "", "Write 1 or more.", *_place(text))
    return value


def _integer(text: Token) -> int:
    """Return a whole number that fits 64 bits, which is what travels between the processes."""
    if not (text.isascii() and text.isdigit()):
        raise MisfitError(f"`{text}` is not a whole number", "", "Write digits only.", *_place(text))
    if len(text) > 100 or int(text) > _LARGEST:
        raise MisfitError("this number is too large", f"At most {_LARGEST:,}.", "", *_place(text))
    return int(text)


def _unquote(text: Token) -> str:
    def plain(match: re.Match[str]) -> str:
        if match.group() not in _ESCAPES:
            at, _ = _place(text)
            what = f"`{match.group()}` means nothing inside quotes."
            raise MisfitError("unknown escape", what, "Write \\\\ for a \\.", at + match.start() + 1, 2)
        return _ESCAPES[match.group()]

    return re.sub(r"\\.", plain, text[1:-1])


def _place(token: Token) -> tuple[int, int]:
    return token.start_pos or 0, max(1, len(token))
