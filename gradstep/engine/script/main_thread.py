"""The script's thread and the session's: the script runs, or it waits at a stop while the session looks."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import current_thread, main_thread
from types import FrameType
from typing import Any, Literal, TypeVar, cast

T = TypeVar("T")
News = Literal["inside", "phase", "ended", "answer", "raised"]

EVERY = 0.25
"""Seconds between two looks at a script that runs on."""


class MainThread:
    """Hands control between the script's thread and the session's. Only one of the two uses torch at a time.

    It has the interface of a `PhaseThread`, so that a phase of the script is stepped as one of a held workload is.
    """

    def __init__(self) -> None:
        self._orders: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._news: SimpleQueue[tuple[News, object]] = SimpleQueue()
        self.resumed: Callable[[], None] = lambda: None
        """Called on the script's thread when it runs on from a stop."""
        self.frame: FrameType | None = None
        """The innermost frame at the stop; None while the script runs."""
        self.done = False
        """True once the script has ended."""
        self.released = False
        """True once nobody is there to stop it."""
        self.pausing = False
        """Set to have the script stop at the next place where it can."""

    # -- on the session's thread ---------------------------------------------------------------------------------------
    def stopped(self) -> None:
        """Wait for a stop that no `go` led to: the first one of a script that was running before the session."""
        self._news.get()

    def go(self, meanwhile: Callable[[], None] = lambda: None) -> bool:
        """Let the script run to its next stop or its end; return True at a stop inside a phase.

        Args:
            meanwhile: called every `EVERY` seconds until then.
        """
        self._orders.put(None)
        kind = None
        while kind is None:
            try:
                kind, _ = self._news.get(timeout=EVERY)
            except Empty:
                meanwhile()
        self.pausing = False
        return kind == "inside"

    def let_go(self) -> None:
        """Let the script run on, with nobody to stop it."""
        self.released = self.done = True
        self._orders.put(None)

    def ask(self, errand: Callable[[], T]) -> T:
        """Call `errand` on the script's thread, at the stop; return what it returns, raise what it raises."""
        self._orders.put(errand)
        kind, value = self._news.get()
        if kind == "raised":
            raise cast(BaseException, value)
        return cast(T, value)

    def abandon(self) -> None:
        """Do nothing: a script can't be rolled back."""

    # -- on the script's thread ----------------------------------------------------------------------------------------
    def wait(self) -> None:
        """Wait until the session lets the script begin."""
        self._answer()

    def halt(self, kind: News = "inside") -> None:
        """Stop here until the session lets the script go on; call what it asks for meanwhile."""
        if self.released:
            return
        self.frame = sys._getframe(1)
        with _signals_deferred():
            self._news.put((kind, None))
            try:
                self._answer()
            finally:
                self.frame = None
                self.resumed()

    def end(self) -> None:
        """Tell the session that the script has ended, and answer it until it is closed."""
        self.done = True
        self.halt("ended")

    def check(self) -> None:
        """Do nothing: a script is not asked to give up."""

    def _answer(self) -> None:
        while (errand := self._orders.get()) is not None:
            news: tuple[News, Any]
            try:
                news = "answer", errand()
            except BaseException as error:  # it is raised on the session's thread
                news = "raised", error
            self._news.put(news)


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Have the signals that come meanwhile call the script's handlers afterwards, where it runs on.

    A handler that raises here would lose an order. Python calls handlers on the main thread only.
    """
    if current_thread() is not main_thread():
        yield
        return
    came: list[int] = []
    handlers = {number: handler for number in _RAISING if callable(handler := signal.getsignal(number))}
    for number in handlers:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for each in came:
            signal.raise_signal(each)


_RAISING = (
    signal.SIGCHLD,
    signal.SIGALRM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGINT,
)
"""Signals that scripts handle; the handler of some raises, such as that of a DataLoader whose worker has died."""
