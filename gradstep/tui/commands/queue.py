"""The command queue: jobs in order, one command in flight, and after each outcome one look for all panels."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress

from gradstep.session.protocol import FrontSession
from gradstep.tui.commands.carrier import Carrier, Listener, Mark
from gradstep.tui.commands.jobs import REFUSED_INSIDE, Job, Program
from gradstep.tui.commands.play import Play
from gradstep.tui.panels.why import hit_words
from gradstep.values.commands import Command, Load, for_replay, line_of
from gradstep.values.errors import GradstepError
from gradstep.values.outcomes import Outcome, Problem, Stop

QUEUE = 64
"""Jobs that may wait; a key held down longer than that is told so."""
_FRAME = 0.05
"""Seconds between two looks while a block runs by itself."""


class CommandQueue(Carrier):
    """Carries jobs out, one after the other; while it plays, one more at every beat."""

    def __init__(self, session: FrontSession, listener: Listener, rest: float = 0.2) -> None:
        """Hold a session.

        Args:
            session: who carries the commands out.
            listener: who is told.
            rest: seconds without a command after which a digest is taken.
        """
        super().__init__(session, listener)
        self.dead = ""
        self.place = ""
        """Progress of the job under way, e.g. `turn 3 of 12`."""
        self.idle = asyncio.Event()
        self._rest = rest
        self._queue: deque[Job] = deque()
        self._parked: list[Job] = []
        """What a pause kept, to go on with."""
        self._wake = asyncio.Event()
        self._stopping = False
        self._restarting = False
        self._in_job = False
        self._again: tuple[list[Command], Mark | None] | None = None
        self._play: Play | None = None
        self._beat = 0.0
        """When the last beat was."""

    # -- what the screen asks -----------------------------------------------------------------------------------------
    @property
    def queued(self) -> int:
        """Jobs that wait for their turn."""
        return len(self._queue)

    @property
    def busy(self) -> bool:
        """True while a job is under way or waits."""
        return self._in_job or bool(self._queue)

    def put(self, job: Job) -> bool:
        """Queue a job; False when the queue is full or the engine is dead."""
        if self.dead or len(self._queue) >= QUEUE:
            return False
        if job.show and self._queue and self._queue[-1].show:
            self._queue.pop()
        self._queue.append(job)
        self.idle.clear()
        self._wake.set()
        self._listener.activity()
        return True

    @property
    def parked(self) -> bool:
        """True when there is something to go on with."""
        return bool(self._parked)

    def go_on(self) -> bool:
        """Go on with what a pause kept, before anything that is queued; False when it kept nothing."""
        parked, self._parked = self._parked, []
        if not parked or self.dead:
            return False
        self._queue.extendleft(reversed(parked))
        self.idle.clear()
        self._wake.set()
        self._listener.activity()
        return True

    @property
    def playing(self) -> Play | None:
        """What is being played; None for nothing."""
        return self._play

    def play(self, play: Play | None) -> None:
        """Play, in another way from now on, or no more. An error, a watchpoint and a pause end it."""
        if self.dead:
            return
        self._beat = self._beat if self._play is not None else 0.0
        self._play = play
        if play is not None:
            self.idle.clear()
        self._wake.set()
        self._listener.activity()

    def pause(self) -> bool:
        """Drop what is queued, and stop a block after its present command; True when there was something to stop.

        The rest of the block is kept, to go on with.
        """
        had = self.busy or self._play is not None
        self._queue.clear()
        self._play = None
        self._wake.set()
        if self._in_job:
            self._stopping = True
        self._listener.activity()
        return had

    def died(self, how: str) -> None:
        """Take note that the engine ended by itself."""
        if not self._restarting:
            self.dead = how
            self._play = None
            self._queue.clear()
            self._parked = []
            self._listener.activity()

    async def restart(self) -> None:
        """Start a fresh engine and queue the replay of the session so far."""
        if self._restarting:
            return
        self._restarting = True
        self._play = None
        self._queue.clear()
        self._parked = []
        self._stopping = self._in_job
        try:
            await self.session.restart()
        except (GradstepError, OSError) as error:
            problem = error.problem if isinstance(error, GradstepError) else None
            self._listener.told(f"{problem.title}. {problem.remedy}" if problem else f"No new engine: {error}")
            return
        finally:
            self._restarting = False
        self.dead = ""
        self._again = (self.history, self.mark) if self.history else None
        self.history, self.mark, self.stop = [], None, Stop()
        self.idle.clear()
        self._wake.set()

    # -- the loop -----------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Carry jobs out for as long as the screen lives."""
        if not self._queue:
            with suppress(ConnectionError):
                # nothing to begin with: the session holds its workload already, as in `gradstep.open`
                await self._look(None)
        while True:
            if not self._queue and self._again is None:
                await (self._rested() if self._play is None else self._take_beat(self._play))
            self._wake.clear()
            if self._again is not None:
                again, self._again = self._again, None
                await self._replay(*again)
            elif self._queue:
                await self._carry_out(self._queue.popleft())

    async def _rested(self) -> None:
        """Wait for a job; on the way, when there is time, take the digest of the stop."""
        self.idle.set()
        self._listener.activity()
        stale = self.mark is None or self.mark.commands != len(self.history)
        if stale and self.stop.number and self.history and not self.dead:
            try:
                await asyncio.wait_for(self._wake.wait(), self._rest)
                return
            except TimeoutError:
                await self._take_digest()
        await self._wake.wait()

    async def _take_beat(self, play: Play) -> None:
        """Wait for the next beat and queue what is played, or for what comes before it."""
        left = self._beat + play.seconds - time.monotonic()
        if left > 0:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), left)
                return
        else:
            # at full speed too, a key that stops it has its turn
            await asyncio.sleep(0)
            if self._play is not play or self._queue:
                return
        self._beat = time.monotonic()
        job = play.job()
        if job is not None:
            self._queue.append(job)
        else:
            self._play = None

    async def _carry_out(self, job: Job) -> None:
        self._in_job, self._stopping = True, False
        problem: Problem | None = None
        try:
            problem = await self._follow(job)
        except GradstepError as error:
            problem = error.problem
            self._listener.told(f"{problem.title}. {problem.remedy}")
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            self.died(self.dead or str(error) or "the connection to it was lost")
            problem = Problem("raised", "the engine died", self.dead)
        finally:
            self.running, self._in_job = None, False
        where, self.place = self.place, ""
        if problem is not None:
            words = [f"stopped {_at(where)}"] if where else ["stopped playing"] if self._play is not None else []
            self._play = None
            dropped = len(self._queue)
            words += [f"{dropped} queued command{'s were' if dropped > 1 else ' was'} dropped"] if dropped else []
            self._queue.clear()
            if words:
                self._listener.told("; ".join(words))
        job.done(problem)
        self._listener.activity()

    async def _follow(self, job: Job) -> Problem | None:
        """Run a job to its end, or to where it is paused."""
        program: Program = job.start(self.stop)
        outcome: Outcome | None = None
        shown = True
        command = next(program, None)
        while command is not None:
            # the first command of a job is most often its last: what will be looked at comes with its outcome
            due = outcome is None or time.monotonic() - self._looked > _FRAME
            place = job.place()
            self.place = place
            wanted, before = self._listener.requests() if due else (), self.stop.number
            outcome, views = await self._execute(command, wanted, told=due)
            if isinstance(command, Load):
                self._parked = []
            paused = self._stopping or (bool(outcome.watches) and not job.again)
            problem: Problem | None = None
            try:
                command = program.send(outcome)
            except StopIteration as end:
                command, problem = None, end.value
            paused = paused or (outcome.stop.number != before and _held_up(job, outcome, command))
            if command is None or paused or time.monotonic() - self._looked > _FRAME:
                await self._look(outcome, wanted, views)
                shown = True
            else:
                shown = False
            if paused and problem is None:
                self._park(job, place, outcome, over=command is None)
            if command is None:
                return problem
            if paused:
                program.close()
                return None
        if outcome is not None and not shown:
            await self._look(outcome)
        return None

    def _park(self, job: Job, place: str, outcome: Outcome, over: bool) -> None:
        """Keep what was to come after a pause, and say where this is and what brought it about."""
        kept = [job] if job.goes_on and not over else []
        # what esc clears is gone; a watchpoint only holds it up
        kept += self._queue if outcome.watches or outcome.stop.hit else ()
        self._queue.clear()
        where = _at(place) or ("playing" if self._play is not None else "")
        self._parked, self._play = kept, None
        if not kept and not (where and not over) and where != "playing":
            return
        hits = "; ".join(filter(None, [*(hit_words(hit) for hit in outcome.watches), outcome.stop.hit]))
        words = " ".join(filter(None, ["stopped", where, f"by {hits}" if hits else ""]))
        self._listener.told(f"{words}; `continue` goes on" if kept else words)

    # -- replay after a restart ---------------------------------------------------------------------------------------
    async def _replay(self, history: list[Command], mark: Mark | None) -> None:
        """Carry the session so far out again, and prove by the digest that it led to the same state."""
        self._in_job, self._stopping = True, False
        self._listener.told(f"Restarted. Replaying {len(history)} commands.")
        word = "there was no digest to compare with"
        try:
            for number, command in enumerate(history, 1):
                self.place = f"command {number:,} of {len(history):,}"
                outcome, _ = await self._execute(for_replay(command), again=True)
                if outcome.problem is not None or self._stopping:
                    why = outcome.problem.title if outcome.problem else "paused"
                    word = f"stopped at command {number}, {line_of(command)}: {why}"
                    await self._look(outcome)
                    break
                if mark is not None and number == mark.commands:
                    word = await self._compare(mark)
                if number == len(history) or time.monotonic() - self._looked > _FRAME:
                    await self._look(outcome)
            self._listener.told(f"Restarted, replayed {len(self.history)} of {len(history)} commands: {word}.")
        except ConnectionError as error:
            self.died(self.dead or str(error))
            self.history = history
        finally:
            self.running, self._in_job, self.place = None, False, ""
            self._listener.activity()


def _held_up(job: Job, outcome: Outcome, following: Command | None) -> bool:
    """Return whether a breakpoint holds a job up: inside a phase, a script whose next line goes on there goes on."""
    stop = outcome.stop
    if not stop.hit or job.again:
        return False
    return stop.position is None or not job.scripted or isinstance(following, REFUSED_INSIDE)


def _at(place: str) -> str:
    """Return where a job was when it stopped."""
    return f"{'in' if place.startswith('turn') else 'at'} {place}" if place else ""
