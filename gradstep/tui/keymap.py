"""Every key of the screen in one table: the bindings, the footer, the help and the palette all read it."""

from __future__ import annotations

from typing import NamedTuple

from textual.binding import Binding


class Key(NamedTuple):
    """A key: what it is called, what it does, and where it is named."""

    id: str
    keys: str
    """Textual's names of the keys, with commas between."""
    shown: str
    action: str
    label: str
    help: str
    group: str
    priority: bool = False
    """True for a key that works while a line is being typed, too."""
    counts: bool = False
    """True for a key that does what it does as often as the number typed before it says."""
    panel: str = ""
    """The panel whose own key it is: help for that panel names it first; empty for a key of all of them."""


FAR = 1 << 40
"""More rows or columns than anything has."""

KEYMAP: tuple[Key, ...] = (
    Key(
        "forward",
        "f",
        "f",
        "act('forward')",
        "forward",
        "run prediction = model(x) and the loss",
        "Phases",
        counts=True,
    ),
    Key(
        "backward",
        "b",
        "b",
        "act('backward')",
        "backward",
        "run loss.backward(): it adds to every .grad",
        "Phases",
        counts=True,
    ),
    Key("step", "s", "s", "act('step')", "step", "run optimizer.step(): it moves the weights", "Phases", counts=True),
    Key(
        "zero_grad",
        "z",
        "z",
        "act('zero_grad')",
        "zero_grad",
        "run optimizer.zero_grad(): it clears .grad",
        "Phases",
        counts=True,
    ),
    Key("next_batch", "n", "n", "act('next_batch')", "next batch", "take the next batch", "Phases", counts=True),
    Key(
        "natural",
        "space",
        "space",
        "natural",
        "next",
        "do the natural next phase; the next line of an open script",
        "Phases",
        counts=True,
    ),
    Key(
        "iteration",
        "N,shift+space",
        "N",
        "iteration",
        "iteration",
        "do what is natural up to the next step of the optimizer: a whole iteration",
        "Phases",
        counts=True,
    ),
    Key(
        "play",
        "p",
        "p",
        "play('phase')",
        "play",
        "play: the natural phases by themselves, or the lines of an open script; again stops",
        "Phases",
    ),
    Key("play_iterations", "P", "P", "play('iteration')", "play iterations", "play whole iterations", "Phases"),
    Key("slower", "less_than_sign", "<", "speed(-1)", "slower", "play slower", "Phases"),
    Key("faster", "greater_than_sign", ">", "speed(1)", "faster", "play faster", "Phases"),
    Key(
        "into",
        "i,f11",
        "i",
        "act('into')",
        "into",
        "step into the natural next phase; at a stop inside, one level deeper: from a module to its ops",
        "Inside a phase",
        counts=True,
    ),
    Key(
        "over",
        "o,f10",
        "o",
        "act('over')",
        "over",
        "at a stop inside, do the next module, op or node whole",
        "Inside a phase",
        counts=True,
    ),
    Key(
        "out",
        "O,f23,shift+f11",
        "O",
        "act('out')",
        "out",
        "at a stop inside, go on to the end of the module, then of the phase",
        "Inside a phase",
        counts=True,
    ),
    Key(
        "go_on",
        "c,f5",
        "c",
        "go_on",
        "continue",
        "at a stop inside, go on to a breakpoint or the end; else after a pause, with a script, or to a breakpoint",
        "Inside a phase",
    ),
    Key(
        "break",
        "B,f9",
        "B",
        "break_here",
        "breakpoint",
        "set or delete a breakpoint: on the row under the cursor in Graph or Model, or where it is stopped",
        "Inside a phase",
    ),
    Key(
        "undo",
        "u",
        "u",
        "undo",
        "undo",
        "go back by one: at a stop inside a phase to the stop before, else by one command",
        "Inside a phase",
        counts=True,
    ),
    Key("redo", "U", "U", "redo", "redo", "go forth again by a command that was undone", "Inside a phase", counts=True),
    Key(
        "delete",
        "delete",
        "del",
        "delete_break",
        "delete",
        "delete the breakpoint under the cursor",
        "Inside a phase",
        panel="breakpoints",
    ),
    Key(
        "pause",
        "escape",
        "esc",
        "pause",
        "pause",
        "clear what is queued; a phase that is stepped stops at the next place, another is interrupted by once more",
        "Session",
    ),
    Key("pause_too", "ctrl+c", "ctrl+c", "pause", "pause", "the same as esc; it never quits", "Session", priority=True),
    Key(
        "start_over",
        "r",
        "r",
        "start_over",
        "start over",
        "load the same workload afresh, with the same seed; asks first",
        "Session",
    ),
    Key("restart", "R", "R", "restart", "restart", "start a dead engine again and replay the session", "Session"),
    Key(
        "suspend",
        "ctrl+z",
        "ctrl+z",
        "app.suspend_process",
        "suspend",
        "put gradstep in the background; fg brings it back",
        "Session",
    ),
    Key("quit", "q", "q", "leave", "quit", "quit; the session is kept: gradstep --last opens it again", "Session"),
    Key("panel", "tab", "tab", "panel(1)", "panel", "focus the next panel", "Panels"),
    Key("panel_back", "shift+tab", "shift+tab", "panel(-1)", "panel back", "focus the panel before", "Panels"),
    Key("tensor", "1", "1", "focus_panel('tensor')", "Tensor", "focus Tensor", "Panels"),
    Key("graph", "2", "2", "focus_panel('graph')", "Graph", "focus Graph", "Panels"),
    Key("loss", "3", "3", "focus_panel('loss')", "Loss", "focus Loss", "Panels"),
    Key("log", "4", "4", "focus_panel('log')", "Log", "focus Log", "Panels"),
    Key("model", "5", "5", "focus_panel('model')", "Model", "focus Model", "Panels"),
    Key("why", "6", "6", "focus_panel('why')", "Why", "focus Why", "Panels"),
    Key("script", "7", "7", "focus_panel('script')", "Script", "focus Script, when one is open", "Panels"),
    Key("layers", "8", "8", "focus_panel('layers')", "Layers", "focus Layers", "Panels"),
    Key("optimizer", "9", "9", "focus_panel('optimizer')", "Optimizer", "focus Optimizer", "Panels"),
    Key("batch", "0", "0", "focus_panel('batch')", "Batch", "focus Batch", "Panels"),
    Key("ledger", "a", "a", "focus_panel('ledger')", "Ledger", "focus Ledger: the account of .grad", "Panels"),
    Key("inside", "x", "x", "focus_panel('inside')", "Inside", "focus Inside: what is passed at a stop", "Panels"),
    Key("jtv", "J", "J", "focus_panel('jtv')", "Jᵀ v", "focus Jᵀ v: what a node makes of v", "Panels"),
    Key("source", "S", "S", "focus_panel('source')", "Source", "focus Source: the line that runs", "Panels"),
    Key("breakpoints", "K", "K", "focus_panel('breakpoints')", "Breakpoints", "focus Breakpoints", "Panels"),
    Key("timeline", "T", "T", "focus_panel('timeline')", "Timeline", "focus Timeline: every stop so far", "Panels"),
    Key("maximise", "m", "m", "maximise", "maximise", "give the panel the whole screen, and back", "Panels"),
    Key("learn", "f6", "f6", "layout('learn')", "layout learn", "few panels, and large", "Panels"),
    Key("inspect", "f7", "f7", "layout('inspect')", "layout inspect", "the graph beside the tensor", "Panels"),
    Key("train", "f8", "f8", "layout('train')", "layout train", "the loss, the layers and the log", "Panels"),
    Key(
        "narrower",
        "left_square_bracket,alt+left",
        "[",
        "resize(-2, 0)",
        "narrower",
        "make the panel narrower",
        "Panels",
    ),
    Key("wider", "right_square_bracket,alt+right", "]", "resize(2, 0)", "wider", "make the panel wider", "Panels"),
    Key("lower", "left_curly_bracket,alt+up", "{", "resize(0, -1)", "lower", "make the panel lower", "Panels"),
    Key("higher", "right_curly_bracket,alt+down", "}", "resize(0, 1)", "higher", "make the panel higher", "Panels"),
    Key(
        "sizes",
        "equals_sign",
        "=",
        "reset_sizes",
        "sizes as they come",
        "give all panels the sizes they come with",
        "Panels",
    ),
    Key("theme", "f2", "f2", "theme", "theme", "dark, light or high-contrast colours", "Panels"),
    Key("up", "up,k", "↑", "move(-1)", "up", "move or scroll up in the panel", "Panels", counts=True),
    Key("down", "down,j", "↓", "move(1)", "down", "move or scroll down in the panel", "Panels", counts=True),
    Key("left", "left,h", "←", "sideways(-1)", "left", "to the left; in Loss, a point back", "Panels", counts=True),
    Key("right", "right,l", "→", "sideways(1)", "right", "to the right; in Loss, a point on", "Panels", counts=True),
    Key("first_column", "circumflex_accent", "^", f"sideways({-FAR})", "first column", "to the left end", "Panels"),
    Key("last_column", "dollar_sign", "$", f"sideways({FAR})", "last column", "to the right end", "Panels"),
    Key("page_up", "pageup", "pgup", "page(-1)", "page up", "a page up in the panel", "Panels"),
    Key("page_down", "pagedown", "pgdn", "page(1)", "page down", "a page down in the panel", "Panels"),
    Key("home", "home", "home", "end(-1)", "start", "to the start of the panel", "Panels"),
    Key("end", "end,G", "end", "end(1)", "end", "to the end of the panel", "Panels"),
    Key("choose", "enter", "enter", "choose", "choose", "show the tensor under the cursor", "Panels"),
    Key(
        "tensor_element",
        "g",
        "g",
        "element",
        "go to element",
        "Tensor: go to an index, or to max, min, abs, change, nan or inf",
        "Panels",
        panel="tensor",
    ),
    Key(
        "tensor_heat",
        "H",
        "H",
        "tensor('heat')",
        "heat map",
        "Tensor: numbers, or a heat map",
        "Panels",
        panel="tensor",
    ),
    Key(
        "tensor_quantity",
        "v",
        "v",
        "tensor('quantity')",
        "value or change",
        "Tensor: values, what the last phase added to them, or that over what they were",
        "Panels",
        panel="tensor",
    ),
    Key(
        "tensor_dims",
        "d",
        "d",
        "tensor('dims')",
        "dimensions",
        "Tensor: see the next two dimensions as rows and columns",
        "Panels",
        panel="tensor",
    ),
    Key(
        "tensor_back",
        "comma",
        ",",
        "tensor('back')",
        "index back",
        "Tensor: the index before",
        "Panels",
        panel="tensor",
    ),
    Key(
        "tensor_on",
        "full_stop",
        ".",
        "tensor('on')",
        "index on",
        "Tensor: the next index of the dimensions that are neither rows nor columns",
        "Panels",
        panel="tensor",
    ),
    Key(
        "tensor_statistics",
        "D",
        "D",
        "tensor('statistics')",
        "statistics",
        "Tensor: mean, std, zeros and a histogram of the whole slice, or one line",
        "Panels",
        panel="tensor",
    ),
    Key(
        "loss_scale",
        "L",
        "L",
        "loss('scale')",
        "loss scale",
        "Loss: as it fits, log, or linear",
        "Panels",
        panel="loss",
    ),
    Key(
        "loss_smooth",
        "A",
        "A",
        "loss('smooth')",
        "loss average",
        "Loss: a moving average, or none",
        "Panels",
        panel="loss",
    ),
    Key(
        "loss_axis",
        "I",
        "I",
        "loss('axis')",
        "loss by iteration",
        "Loss: by forward, or by iteration",
        "Panels",
        panel="loss",
    ),
    Key(
        "jtv_check",
        "F",
        "F",
        "jtv('check')",
        "finite differences",
        "Jᵀ v: compare J with finite differences, or no more",
        "Panels",
        panel="jtv",
    ),
    Key(
        "jtv_insist",
        "X",
        "X",
        "jtv('insist')",
        "compute anyway",
        "Jᵀ v: compute what costs much, and run a custom Function once more for it",
        "Panels",
        panel="jtv",
    ),
    Key("fold", "minus", "-", "fold(True)", "fold", "Graph: fold the module into one row", "Panels", panel="graph"),
    Key("unfold", "plus", "+", "fold(False)", "unfold", "Graph: open the folded module", "Panels", panel="graph"),
    Key("fold_all", "underscore", "_", "fold_all(True)", "fold all", "Graph: fold all", "Panels", panel="graph"),
    Key("unfold_all", "asterisk", "*", "fold_all(False)", "unfold all", "Graph: open all", "Panels", panel="graph"),
    Key("measure", "M", "M", "measure", "measure", "Graph: what a large graph keeps", "Panels", panel="graph"),
    Key("copy", "y", "y", "copy(False)", "copy", "copy what is under the cursor: a number, a node, a line", "Panels"),
    Key("copy_all", "Y", "Y", "copy(True)", "copy all", "Tensor: copy the whole slice; else what is seen", "Panels"),
    Key(
        "traceback",
        "t",
        "t",
        "traceback",
        "traceback",
        "show the whole traceback of an error, and back",
        "Panels",
        panel="why",
    ),
    Key(
        "command",
        "colon",
        ":",
        "command",
        "command",
        "type a command; tab completes, up goes back in history",
        "Commands",
    ),
    Key("find", "slash", "/", "find", "find", "find a module, parameter or node as you type its name", "Commands"),
    Key("palette", "ctrl+p", "ctrl+p", "app.command_palette", "palette", "find a command by its name", "Commands"),
    Key("help", "question_mark,f1", "?", "help", "help", "what is in focus, every key and every command", "Commands"),
)

FOOTER: tuple[str, ...] = (
    "natural",
    "into",
    "iteration",
    "play",
    "go_on",
    "next_batch",
    "pause",
    "panel",
    "maximise",
    "command",
    "find",
    "help",
    "quit",
)
"""The keys that the footer names, in its order."""
PLAYING: tuple[str, ...] = ("play", "slower", "faster")
"""Those that come before them while something is played."""
INSIDE: tuple[str, ...] = ("into", "over", "out", "go_on", "undo", "break")
"""Those that come before them at a stop inside a phase."""
OUTSIDE: tuple[str, ...] = ("natural", "iteration", "play", "next_batch")
"""Those that are not named there."""
NEEDED: tuple[str, ...] = (
    "restart",
    "traceback",
    "help",
    "command",
    "quit",
    "natural",
    "go_on",
    "panel",
    "pause",
    "maximise",
    "into",
    "next_batch",
    "iteration",
    "play",
    "find",
)
"""The keys that it names first where there is no room for all."""


def bindings() -> list[Binding]:
    """Return the table as Textual's bindings."""
    return [
        Binding(key.keys, key.action, key.label, id=key.id, tooltip=key.help, priority=key.priority, show=False)
        for key in KEYMAP
    ]


def key(name: str) -> Key:
    """Return a key by its id."""
    return next(key for key in KEYMAP if key.id == name)
