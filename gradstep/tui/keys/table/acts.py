"""The keys of what is done to the model: phases, inside them, back in time, the session."""

from __future__ import annotations

from gradstep.tui.keys.table.key import Key

ACTS: tuple[Key, ...] = (
    Key("forward", "f", "forward", "run prediction = model(x) and the loss", "Phases"),
    Key("backward", "b", "backward", "run loss.backward(): it adds to every .grad", "Phases"),
    Key("step", "s", "step", "run optimizer.step(): it moves the weights", "Phases"),
    Key("zero_grad", "z", "zero_grad", "run optimizer.zero_grad(): it clears .grad", "Phases"),
    Key("next_batch", "n", "next batch", "take the next batch", "Phases", counts=True),
    Key(
        "natural", "space", "next", "do the natural next phase; the next line of an open script", "Phases", counts=True
    ),
    Key(
        "iteration",
        "N,shift+space",
        "iteration",
        "do what is natural up to the next step of the optimizer: a whole iteration",
        "Phases",
        counts=True,
    ),
    Key(
        "play",
        "p",
        "play",
        "play: the natural phases by themselves, or the lines of an open script; again stops",
        "Phases",
    ),
    Key("play_iterations", "P", "play iterations", "play whole iterations", "Phases"),
    Key("slower", "less_than_sign", "slower", "play slower", "Phases"),
    Key("faster", "greater_than_sign", "faster", "play faster", "Phases"),
    Key(
        "into",
        "i,f11",
        "into",
        "step into the natural next phase; at a stop inside, one level deeper: from a module to its ops",
        "Inside a phase",
        counts=True,
    ),
    Key(
        "over", "o,f10", "over", "at a stop inside, do the next module, op or node whole", "Inside a phase", counts=True
    ),
    Key(
        "out",
        "O,f23,shift+f11",
        "out",
        "at a stop inside, go on to the end of the module, then of the phase",
        "Inside a phase",
        counts=True,
    ),
    Key(
        "go_on",
        "c,f5",
        "continue",
        "at a stop inside, go on to a breakpoint or the end; else after a pause, with a script, or to a breakpoint",
        "Inside a phase",
    ),
    Key(
        "break",
        "B,f9",
        "breakpoint",
        "set or delete a breakpoint: on the row under the cursor in Graph or Model, or where it is stopped",
        "Inside a phase",
    ),
    Key("delete", "delete", "delete", "delete the breakpoint under the cursor", "Inside a phase", panel="breakpoints"),
    Key(
        "undo",
        "u",
        "undo",
        "go back by one: at a stop inside a phase to the stop before, else by one command",
        "Back in time",
        counts=True,
    ),
    Key("redo", "U", "redo", "go forward again by a command that was undone", "Back in time", counts=True),
    Key(
        "compare",
        "C",
        "compare",
        "in Timeline mark a stop, and compare it with another; elsewhere focus Compare",
        "Back in time",
    ),
    Key(
        "try",
        "W",
        "what if",
        "do the same again with something changed, on a branch of its own, and compare the two",
        "Back in time",
    ),
    Key(
        "edit",
        "e",
        "edit",
        "change what is under the cursor: an element, a .grad, lr; in Jᵀ v and Inside what flows at the stop",
        "Back in time",
    ),
    Key(
        "pause",
        "escape",
        "pause",
        "clear what is queued; a phase that is stepped stops at the next place, another is interrupted by once more",
        "Session",
    ),
    Key("pause_too", "ctrl+c", "pause", "the same as esc; it never quits", "Session", priority=True, in_palette=False),
    Key("start_over", "r", "start over", "load the same workload afresh, with the same seed; asks first", "Session"),
    Key("restart", "R", "restart", "start a dead engine again and replay the session", "Session"),
    Key("suspend", "ctrl+z", "suspend", "put gradstep in the background; fg brings it back", "Session"),
    Key("quit", "q", "quit", "quit; the session is kept: gradstep --last opens it again", "Session"),
)
