"""The wire format between screen and engine: msgpack messages, each in a frame with its length and number."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TypeAlias

from msgspec import MsgspecError, Struct
from msgspec.msgpack import Decoder, Encoder

from gradstep.values.commands import Command
from gradstep.values.outcomes import Event, Outcome, Problem, Stop
from gradstep.values.views import NoView, Request, View


# -- from the screen to the engine -------------------------------------------------------------------------------------
class Execute(Struct, frozen=True, tag=True):
    """Run one command, then answer each request at the stop it ended at; answered by `Executed`."""

    command: Command
    requests: tuple[Request, ...] = ()


class Look(Struct, frozen=True, tag=True):
    """Answer each request, all at one stop: the present one, or with `at` a past one; answered by `Looked`."""

    requests: tuple[Request, ...]
    at: int = 0


class Interrupt(Struct, frozen=True, tag=True):
    """Interrupt the commands up to this frame's number: the running one, and those that were sent."""


class Close(Struct, frozen=True, tag=True):
    """End the session: flush and exit, or let `gradstep.open` return."""


# -- from the engine to the screen -------------------------------------------------------------------------------------
class Ready(Struct, frozen=True, tag=True):
    """The engine serves, at this stop: in `gradstep.open` the session exists before the screen."""

    stop: Stop


class Executed(Struct, frozen=True, tag=True):
    """The outcome of an `Execute`."""

    outcome: Outcome
    views: tuple[View, ...] = ()


class Looked(Struct, frozen=True, tag=True):
    """The views that a `Look` requested."""

    views: tuple[View, ...]


class Refused(Struct, frozen=True, tag=True):
    """A message could not be read, for this reason."""

    problem: Problem


class Notified(Struct, frozen=True, tag=True):
    """An event; its frame's number is 0."""

    event: Event


Order: TypeAlias = Execute | Look | Interrupt | Close
Reply: TypeAlias = Ready | Executed | Looked | Refused | Notified

HEADER = struct.Struct(">IQ")
"""Length of the message in bytes, and its number: a reply has the number of its order, an event has 0."""

LONGEST = 1 << 30
"""Maximum length of a message in bytes; a greater one means that the stream does not consist of frames."""

UNENCODABLE = (MsgspecError, UnicodeError, OverflowError, RecursionError, TypeError, ValueError)
"""What msgspec raises for values it cannot encode: lone surrogates, integers from 2**64 on, infinite nesting."""

_encoder = Encoder()
_orders: Decoder[Order] = Decoder(Order)
_replies: Decoder[Reply] = Decoder(Reply)


def frame(number: int, message: Order | Reply) -> bytes:
    """Return a message as the bytes of one frame.

    Raises:
        UNENCODABLE: the message contains a value that cannot be encoded.
    """
    body = _encoder.encode(message)
    if len(body) > LONGEST:
        raise OverflowError(f"a message of {len(body):,} bytes is too long to send")
    return HEADER.pack(len(body), number) + body


def reply_frame(number: int, reply: Reply) -> bytes:
    """Return a reply as a frame; one that cannot be encoded becomes an error."""
    try:
        return frame(number, reply)
    except UNENCODABLE as error:
        return frame(number, _without_what_cannot_be_sent(reply, error))


def read_order(body: bytes) -> Order:
    """Decode an order. Raises `UNENCODABLE` if it is not one."""
    return _orders.decode(body)


def read_reply(body: bytes) -> Reply:
    """Decode a reply. Raises `UNENCODABLE` if it is not one."""
    return _replies.decode(body)


class Frames:
    """Splits a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Add bytes and yield each complete frame, as number and message.

        Raises:
            ConnectionError: the stream does not consist of frames.
        """
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            length, number = HEADER.unpack_from(self._buffer)
            if length > LONGEST:
                raise ConnectionError(f"a message of {length:,} bytes was announced: these are not gradstep's frames")
            end = HEADER.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[HEADER.size : end])
            del self._buffer[:end]
            yield number, body


def cannot_send(error: Exception) -> Problem:
    """Return the problem of a value that cannot be encoded."""
    return Problem(
        kind="wrong",
        title="this cannot be sent between engine and screen",
        what=printable(f"{type(error).__name__}: {error}"),
        remedy="Names and texts must be valid Unicode, integers below 2**64, and expressions not infinitely nested.",
    )


def printable(text: str) -> str:
    """Return text with every lone surrogate written as its escape, so that it can be encoded."""
    return text.encode("utf-8", "backslashreplace").decode()


def _without_what_cannot_be_sent(reply: Reply, error: Exception) -> Reply:
    problem = cannot_send(error)
    match reply:
        case Executed(outcome, views) if _can_be_sent(Executed(outcome)):
            return Executed(outcome, _with_reasons(views, problem))
        case Executed(outcome):
            stop = Stop(number=outcome.stop.number, iteration=outcome.stop.iteration, loss=outcome.stop.loss)
            for kept in (outcome.stop, stop):
                short = Executed(Outcome(command=outcome.command, stop=kept, problem=problem))
                if _can_be_sent(short):
                    return short
        case Looked(views):
            return Looked(_with_reasons(views, problem))
        case _:
            pass
    return Refused(problem)


def _with_reasons(views: tuple[View, ...], problem: Problem) -> tuple[View, ...]:
    return tuple(v if _can_be_sent(Looked((v,))) else NoView(stop=v.stop, why=problem.what) for v in views)


def _can_be_sent(reply: Reply) -> bool:
    try:
        _encoder.encode(reply)
    except UNENCODABLE:
        return False
    return True
