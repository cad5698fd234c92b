"""Parse a script, or a line typed at `:`. All faults are found, not only the first."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from gradstep.steps.language.faults import Fault, ScriptError
from gradstep.steps.language.script import ExpectError, Repeat, Script, Statement, StepsLine
from gradstep.values.commands import Command, EditCommand, Say, Try, for_replay
from gradstep.values.commands.statement_error import StatementError
from gradstep.values.commands.time_travel import NO_CHANGE

if TYPE_CHECKING:
    from gradstep.steps.language.outline import RawBlock

CommandT = TypeVar("CommandT", bound=Command)
MAX_BLOCKS = 50
"""Maximum nesting of blocks."""


def parse_script(text: str, path: str, replays: bool = False) -> Script:
    """Parse a script.

    Args:
        text: the script.
        path: its file, for messages and relative paths.
        replays: whether its commands may overwrite files.

    Raises:
        ScriptError: it is invalid; the error has all faults, with file, line and column.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    folder = os.path.dirname(os.path.abspath(path))
    return _Parser(text, path, folder, replays).script()


def parse_line(text: str, folder: str = "") -> tuple[Statement, ...]:
    """Parse a line typed at `:`, with any number of statements.

    Args:
        text: the line.
        folder: the base of relative paths; empty for the engine's working directory.

    Raises:
        ScriptError: it is invalid; the caret points into the line.
    """
    return _Parser(text, ":", folder).script().statements


def read_script(path: str) -> Script:
    """Read and parse a script file.

    Raises:
        ScriptError: it cannot be read, is not text, or is invalid.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        raise ScriptError([Fault(path, 0, 0, "", "no such file")]) from None
    except (OSError, ValueError) as error:
        why = f"{error.strerror}." if isinstance(error, OSError) and error.strerror else "It is not UTF-8 text."
        remedy = "Give the path of a .steps script."
        raise ScriptError([Fault(path, 0, 0, "", "the script cannot be read", why, remedy)]) from None
    return parse_script(text, path, replays=True)


class _Parser:
    """Collects the statements and faults of one text."""

    def __init__(self, text: str, path: str, folder: str, replays: bool = False) -> None:
        self.text, self.path, self.folder, self.replays = text, path, folder, replays
        self.source = tuple(text.split("\n"))
        self.faults: list[Fault] = []

    def script(self) -> Script:
        from gradstep.steps.language.grammar import parse_outline

        raw, unclosed = parse_outline(self.text)
        for line, column in unclosed:
            remedy = "Add a `}`; after a `say`, which takes the rest of its line, on a new line."
            self.fault(line, column, "this block is never closed", remedy=remedy)
        statements = self.statements(raw, 0)
        if self.faults:
            raise ScriptError(sorted(self.faults, key=lambda f: (f.line, f.column)))
        return Script(self.path, self.source, statements)

    def statements(self, raw: list[RawBlock], depth: int) -> tuple[Statement, ...]:
        made = [self.statement(r, depth) for r in raw]
        return tuple(s for s in made if s is not None)

    def statement(self, raw: RawBlock, depth: int) -> Statement | None:
        try:
            if raw.fault is not None:
                self.fault(raw.line, raw.column, raw.fault[0], remedy=raw.fault[1])
                if raw.text in ("{", "}"):
                    return None if raw.body is None else next(iter(self.statements(raw.body, depth + 1)), None)
            if raw.body is None:
                return StepsLine(self.command(raw), raw.line, raw.text, raw.column)
            return self.block(raw, raw.body, depth)
        except StatementError as error:
            self.statement_fault(raw, error)
            return None

    def command(self, raw: RawBlock) -> Command:
        from gradstep.steps.language.statement import parse_command

        if raw.narration:
            return Say(raw.text[3:].strip())
        if re.match(r"repeat(?![\w.])|expect\s+error\s*($|\")", raw.text):
            word = "repeat 5" if raw.text.startswith("repeat") else 'expect error "second time"'
            end = len(raw.text)
            raise StatementError("a block is missing", "", f"It is written like this: {word} {{ backward }}", end)
        command = parse_command(raw.text)
        command = for_replay(command) if self.replays else command
        if isinstance(command, Try):
            return replace(command, changes=tuple(map(self.placed, command.changes)))
        return self.placed(command)

    def placed(self, command: CommandT) -> CommandT:
        """Return a command whose file is relative to the script's folder."""
        if not hasattr(command, "folder"):
            return command
        return replace(command, folder=os.path.join(self.folder, command.folder) if command.folder else self.folder)

    def block(self, raw: RawBlock, body: list[RawBlock], depth: int) -> Statement | None:
        from gradstep.steps.language.statement import parse_header

        if depth >= MAX_BLOCKS:
            raise StatementError("blocks are nested too deeply", f"The limit is {MAX_BLOCKS}.", "", 0, len(raw.text))
        inner = self.statements(body, depth + 1)
        word = raw.text.split(None, 1)[0]
        if word not in ("repeat", "expect", "try"):
            parse = "Only `repeat`, `expect error` and `try` take a block."
            raise StatementError(f"`{word}` takes no block", "", parse, 0, len(word))
        if word == "expect" and not re.match(r"expect\s+error\b", raw.text):
            raise StatementError("only `expect error` takes a block", "", 'expect error "..." { ... }', 0, 6)
        header = parse_header(raw.text)
        if not body:
            raise StatementError("the block is empty", "", "Put a command between its braces.", 0, len(raw.text))
        if isinstance(header, Try):
            return StepsLine(self.trial(raw, header, inner), raw.line, raw.text, raw.column)
        if isinstance(header, str):
            return ExpectError(header, inner, raw.line, raw.text, raw.column)
        return Repeat(header, inner, raw.line, raw.text, raw.column)

    def trial(self, raw: RawBlock, header: Try, inner: tuple[Statement, ...]) -> Try:
        """Return the `try` of a block of edits."""
        changes = [
            each.command for each in inner if isinstance(each, StepsLine) and isinstance(each.command, EditCommand)
        ]
        if len(changes) < len(inner):
            raise StatementError("the block of a `try` may only have edits", *NO_CHANGE, 0, len(raw.text))
        return replace(header, changes=tuple(changes))

    def statement_fault(self, raw: RawBlock, error: StatementError) -> None:
        self.fault(raw.line, raw.column + error.at, error.title, error.what, error.remedy, error.width)

    def fault(self, line: int, column: int, title: str, what: str = "", remedy: str = "", width: int = 1) -> None:
        source = self.source[line - 1] if 0 < line <= len(self.source) else ""
        self.faults.append(Fault(self.path, line, column, source, title, what, remedy, width))
