"""Iterate over the commands of a script: repeats are unrolled lazily, expected errors are matched.

The runner does no I/O and knows no session, so that a replay, a test and the screen all drive it:

    runner = Runner(script)
    while (line := runner.line) is not None:     # the next command, and where it is
        outcome = session.execute(line.command)  # or await it
        failure = runner.feed(outcome.problem)   # advances; None unless the script failed
        if failure is not None:
            ...                                  # stop, or continue: runner.line is the next command

`runner.line.number` is the source line, and `runner.turns` are the turns of the repeats around it. A command that fails
inside `expect error "..." { ... }` with that error is not a failure: `feed` returns None and leaves the block. A block
that ends without an error is a failure of its own line, reported by the `feed` of its last command.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from gradstep.steps.language.script import ExpectError, Repeat, Script, Statement, StepsLine
from gradstep.values.outcomes import Problem


class Failure(Struct, frozen=True):
    """Where a script failed, and the problem. Line and column count from 1."""

    problem: Problem
    number: int
    column: int
    text: str


class _Frame:
    """A block being run; `left` turns remain after this one."""

    __slots__ = ("body", "count", "expected", "index", "left")

    def __init__(self, body: tuple[Statement, ...], count: int, expected: ExpectError | None) -> None:
        self.body, self.count, self.expected = body, count, expected
        self.index, self.left = 0, count - 1


def _block(block: Repeat | ExpectError) -> _Frame:
    return _Frame(block.body, block.count, None) if isinstance(block, Repeat) else _Frame(block.body, 1, block)


class StepsRunner:
    """A position in a script; its size does not grow with the turns of a repeat."""

    def __init__(self, script: Script) -> None:
        self.line: StepsLine | None = None
        """The next command; None at the end."""
        self._statements = script.statements
        self._frames = [_Frame(script.statements, 1, None)]
        self._settle()

    @property
    def turns(self) -> tuple[tuple[int, int], ...]:
        """The repeats around `line`, outermost first: the turn, from 1, and the count."""
        return tuple((f.count - f.left, f.count) for f in self._frames[1:] if f.expected is None)

    @property
    def place(self) -> tuple[tuple[int, int], ...]:
        """The position, for `go`: for each block around `line`, outermost first, the index in it and the turns left."""
        return tuple((frame.index, frame.left) for frame in self._frames)

    def go(self, place: tuple[tuple[int, int], ...]) -> None:
        """Go to an earlier position of this runner."""
        frames: list[_Frame] = []
        block: Repeat | ExpectError | None = None
        for index, left in place:
            frames.append(_Frame(self._statements, 1, None) if block is None else _block(block))
            frames[-1].index, frames[-1].left = index, left
            following = frames[-1].body[index : index + 1]
            block = following[0] if following and not isinstance(following[0], StepsLine) else None
        self._frames, self.line = frames, None
        self._settle()

    def feed(self, problem: Problem | None) -> Failure | None:
        """Take the result of `line`, and advance to the next one.

        Returns:
            The failure; None when the command succeeded, or failed as its block expects.
        """
        if problem is not None:
            return self._fail(problem)
        frame = self._frames[-1]
        frame.index += 1
        if frame.index < len(frame.body):
            following = frame.body[frame.index]
            if type(following) is StepsLine:  # the common case, kept fast
                self.line = following
                return None
        return self._settle()

    def _fail(self, problem: Problem) -> Failure | None:
        assert self.line is not None
        at = Failure(problem, self.line.number, self.line.column, self.line.text)
        awaiting = [i for i, frame in enumerate(self._frames) if frame.expected is not None]
        if problem.kind not in ("raised", "wrong") or not awaiting:
            self._frames[-1].index += 1
            self._settle()
            return at
        for i in reversed(awaiting):
            expected = self._frames[i].expected
            if expected is not None and expected.error.lower() in f"{problem.title}\n{problem.what}".lower():
                self._leave(i)
                return self._settle()
        innermost = self._frames[awaiting[-1]].expected
        assert innermost is not None
        self._leave(awaiting[-1])
        self._settle()
        actual = problem.what or problem.title
        changed = replace(problem, expected=f'an error that contains "{innermost.error}"', actual=actual)
        return replace(at, problem=changed)

    def _leave(self, place: int) -> None:
        """Leave the block of frame `place` and all blocks inside it."""
        del self._frames[place:]
        self._frames[-1].index += 1

    def _settle(self) -> Failure | None:
        """Find the next command; return the failure of an `expect error` block that ended without one, if any."""
        failure: Failure | None = None
        while self._frames:
            frame = self._frames[-1]
            if frame.index < len(frame.body):
                match frame.body[frame.index]:
                    case StepsLine() as line:
                        self.line = line
                        return failure
                    case block:
                        self._frames.append(_block(block))
            elif frame.left:
                frame.left -= 1
                frame.index = 0
            else:
                self._frames.pop()
                if frame.expected is not None:
                    failure = failure or _no_error(frame.expected)
                if self._frames:
                    self._frames[-1].index += 1
        self.line = None
        return failure


def _no_error(block: ExpectError) -> Failure:
    problem = Problem(
        kind="expectation",
        title="the expected error was not raised",
        what=f'expect error "{block.error}"',
        expected=f'an error that contains "{block.error}"',
        actual="every command of the block succeeded",
    )
    return Failure(problem, block.number, block.column, block.text)
