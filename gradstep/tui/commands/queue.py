"""The command queue: jobs in order, one command in flight, and one request for all panels after each outcome."""

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
from gradstep.values.commands import Command, Load, Run, for_replay, line_of
from gradstep.values.errors import GradstepError
from gradstep.values.outcomes import Outcome, Problem, Stop

QUEUE = 64
"""Jobs that may be queued, so that a key held down does not queue without limit."""
_FRAME = 0.05
"""Seconds between two repaints while a job runs."""


class CommandQueue(Carrier):
    """Runs jobs one after the other; while playing, adds one at every tick."""

    def __init__(self, session: FrontSession, listener: Listener, rest: float = 0.2) -> None:
        """Attach to a session.

        Args:
            session: executes the commands.
            listener: receives outcomes and notices.
            rest: idle seconds after which a digest is taken.
        """
        super().__init__(session, listener)
        self.dead = ""
        self.place = ""
        """Progress of the running job, e.g. `turn 3 of 12`."""
        self.idle = asyncio.Event()
        self._rest = rest
        self._queue: deque[Job] = deque()
        self._parked: list[Job] = []
        """Jobs that a pause kept, for `continue`."""
        self._wake = asyncio.Event()
        self._stopping = False
        self._restarting = False
        self._in_job = False
        self._pending_replay: tuple[list[Command], Mark | None] | None = None
        self._play: Play | None = None
        self._beat = 0.0
        """When playing last added a job."""

    # -- interface of the screen --------------------------------------------------------------------------------------
    @property
    def queued(self) -> int:
        """Jobs that wait."""
        return len(self._queue)

    @property
    def busy(self) -> bool:
        """True while a job runs or waits."""
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
        """True when a pause kept a job."""
        return bool(self._parked)

    def go_on(self) -> bool:
        """Resume what a pause kept, before anything queued; return False when it kept nothing."""
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
        """What is being played; None when nothing is."""
        return self._play

    def play(self, play: Play | None) -> None:
        """Start playing, change what is played, or stop (None). An error, a watchpoint and a pause stop it, too."""
        if self.dead:
            return
        self._beat = self._beat if self._play is not None else 0.0
        self._play = play
        if play is not None:
            self.idle.clear()
        self._wake.set()
        self._listener.activity()

    def pause(self) -> bool:
        """Clear the queue, and stop the running job after its current command; return whether anything ran.

        The rest of that job is kept, for `continue`.
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
        """Mark the engine as dead."""
        if not self._restarting:
            self.dead = how
            self._play = None
            self._queue.clear()
            self._parked = []
            self._listener.activity()

    async def restart(self, job: Job | None = None) -> None:
        """Start a new engine and queue a job for it; without one, a replay of the session so far."""
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
            self._listener.show_notice(
                f"{problem.title}. {problem.remedy}" if problem else f"The engine could not be restarted: {error}"
            )
            return
        finally:
            self._restarting = False
        self.dead = ""
        self._pending_replay = (self.history, self.mark) if self.history and job is None else None
        self.history, self.mark, self.stop = [], None, Stop()
        if job is not None:
            self._queue.append(job)
        self.idle.clear()
        self._wake.set()

    # -- the loop -----------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Run jobs for as long as the screen lives."""
        if not self._queue:
            with suppress(ConnectionError):
                # nothing is queued: the session holds its workload already, as in `gradstep.open`
                await self._look(None)
        while True:
            if not self._queue and self._pending_replay is None:
                await (self._rested() if self._play is None else self._take_beat(self._play))
            self._wake.clear()
            if self._pending_replay is not None:
                replay, self._pending_replay = self._pending_replay, None
                await self._replay(*replay)
            elif self._queue:
                await self._carry_out(self._queue.popleft())

    async def _rested(self) -> None:
        """Wait for a job; once idle for `rest` seconds with every view there, take a digest of the state."""
        self.idle.set()
        self._listener.activity()
        stale = self.mark is None or self.mark.commands != len(self.history)
        if stale and self.stop.number and self.history and not self.dead and not self.stop.script:
            try:
                async with asyncio.timeout(self._rest):  # unlike `wait_for`, without another task
                    await self._wake.wait()
                    return
            except TimeoutError:
                if not self._listener.at_rest:  # any message would end a rerun for a view: try again later
                    return
                await self._take_digest()
        await self._wake.wait()

    async def _take_beat(self, play: Play) -> None:
        """Wait for the next tick and queue what is played, unless a job is queued first."""
        left = self._beat + play.seconds - time.monotonic()
        if left > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._wake.wait()
                return
        else:
            # yield at full speed, so that a key can stop it
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
            self._listener.show_notice(f"{problem.title}. {problem.remedy}")
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
                self._listener.show_notice("; ".join(words))
        job.done(problem)
        self._listener.activity()

    async def _follow(self, job: Job) -> Problem | None:
        """Run a job until it ends or is paused."""
        program: Program = job.start(self.stop)
        outcome: Outcome | None = None
        shown = True
        command = next(program, None)
        while command is not None:
            # the first command of a job is usually its last: request its views together with it
            due = outcome is None or time.monotonic() - self._looked > _FRAME
            place = job.place()
            self.place = place
            wanted, before = self._listener.requests() if due else (), self.stop.number
            outcome, views = await self._execute(command, wanted, report=due)
            if isinstance(command, Load | Run):
                self._parked = []
            paused = self._stopping or (bool(outcome.watches) and not job.replay)
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
        """Keep what remains after a pause, and show where and why it paused."""
        kept = [job] if job.goes_on and not over else []
        # esc clears the queue; a watchpoint or breakpoint only holds it
        kept += self._queue if outcome.watches or outcome.stop.hit else ()
        self._queue.clear()
        where = _at(place) or ("playing" if self._play is not None else "")
        self._parked, self._play = kept, None
        if not kept and not (where and not over) and where != "playing":
            return
        hits = "; ".join(filter(None, [*(hit_words(hit) for hit in outcome.watches), outcome.stop.hit]))
        words = " ".join(filter(None, ["stopped", where, f"by {hits}" if hits else ""]))
        self._listener.show_notice(f"{words}; `continue` resumes" if kept else words)

    # -- replay after a restart ---------------------------------------------------------------------------------------
    async def _replay(self, history: list[Command], mark: Mark | None) -> None:
        """Replay the session so far, and verify by the digest that the state is the same."""
        self._in_job, self._stopping = True, False
        self._listener.show_notice(f"Restarted. Replaying {len(history)} commands.")
        word = "there was no digest to compare with"
        try:
            for number, command in enumerate(history, 1):
                self.place = f"command {number:,} of {len(history):,}"
                outcome, _ = await self._execute(for_replay(command), replay=True)
                if outcome.problem is not None or self._stopping:
                    why = outcome.problem.title if outcome.problem else "paused"
                    word = f"stopped at command {number}, {line_of(command)}: {why}"
                    await self._look(outcome)
                    break
                if mark is not None and number == mark.commands:
                    word = await self._compare(mark)
                if number == len(history) or time.monotonic() - self._looked > _FRAME:
                    await self._look(outcome)
            self._listener.show_notice(f"Restarted, replayed {len(self.history)} of {len(history)} commands: {word}.")
        except ConnectionError as error:
            self.died(self.dead or str(error))
            self.history = history
        finally:
            self.running, self._in_job, self.place = None, False, ""
            self._listener.activity()


def _held_up(job: Job, outcome: Outcome, following: Command | None) -> bool:
    """Return whether a breakpoint pauses a job; a script whose next line continues inside the phase is not paused."""
    stop = outcome.stop
    if not stop.hit or job.replay:
        return False
    return stop.position is None or not job.scripted or isinstance(following, REFUSED_INSIDE)


def _at(place: str) -> str:
    """Return where a job stopped, in words."""
    return f"{'in' if place.startswith('turn') else 'at'} {place}" if place else ""
