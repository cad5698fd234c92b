"""The keys that every panel has: which is in focus, how large it is, moving in it, copying from it."""

from __future__ import annotations

from gradstep.tui.keys.table.key import Key

FAR = 1 << 40
"""More rows or columns than anything has."""

PANELS: tuple[Key, ...] = (
    Key("panel", "tab", "panel", "focus the next panel", "Panels", in_palette=False),
    Key("panel_back", "shift+tab", "panel back", "focus the panel before", "Panels", in_palette=False),
    Key("tensor", "1", "Tensor", "focus Tensor", "Panels"),
    Key("graph", "2", "Graph", "focus Graph", "Panels"),
    Key("loss", "3", "Loss", "focus Loss", "Panels"),
    Key("log", "4", "Log", "focus Log", "Panels"),
    Key("model", "5", "Model", "focus Model", "Panels"),
    Key("why", "6", "Why", "focus Why", "Panels"),
    Key("script", "7", "Script", "focus Script, when one is open", "Panels"),
    Key("layers", "8", "Layers", "focus Layers", "Panels"),
    Key("optimizer", "9", "Optimizer", "focus Optimizer", "Panels"),
    Key("batch", "0", "Batch", "focus Batch", "Panels"),
    Key("ledger", "a", "Ledger", "focus Ledger: the account of .grad", "Panels"),
    Key("inside", "x", "Inside", "focus Inside: what is passed at a stop", "Panels"),
    Key("jtv", "J", "Jᵀ v", "focus Jᵀ v: what a node makes of v", "Panels"),
    Key("contributions", "w", "Contributions", "focus Contributions: what met, and which gave how much", "Panels"),
    Key("source", "S", "Source", "focus Source: the line that runs", "Panels"),
    Key("breakpoints", "K", "Breakpoints", "focus Breakpoints", "Panels"),
    Key("timeline", "T", "Timeline", "focus Timeline: every stop so far", "Panels"),
    Key("maximise", "m", "maximise", "give the panel the whole screen, and back", "Panels"),
    Key("learn", "f6", "layout learn", "layout learn: few panels, and large", "Panels"),
    Key("inspect", "f7", "layout inspect", "layout inspect: the graph beside the tensor", "Panels"),
    Key("train", "f8", "layout train", "layout train: the loss, the layers and the log", "Panels"),
    Key("narrower", "left_square_bracket,alt+left", "narrower", "make the panel narrower", "Panels"),
    Key("wider", "right_square_bracket,alt+right", "wider", "make the panel wider", "Panels"),
    Key("lower", "left_curly_bracket,alt+up", "lower", "make the panel lower", "Panels"),
    Key("higher", "right_curly_bracket,alt+down", "higher", "make the panel higher", "Panels"),
    Key("sizes", "equals_sign", "sizes as they come", "give all panels the sizes they come with", "Panels"),
    Key("theme", "f2", "theme", "dark, light or high-contrast colours", "Panels"),
    Key("up", "up,k", "up", "move or scroll up in the panel", "Panels", counts=True),
    Key("down", "down,j", "down", "move or scroll down in the panel", "Panels", counts=True),
    Key("left", "left,h", "left", "to the left; in Loss, a point back", "Panels", counts=True),
    Key("right", "right,l", "right", "to the right; in Loss, a point on", "Panels", counts=True),
    Key("first_column", "circumflex_accent", "first column", "to the left end", "Panels"),
    Key("last_column", "dollar_sign", "last column", "to the right end", "Panels"),
    Key("page_up", "pageup", "page up", "a page up in the panel", "Panels"),
    Key("page_down", "pagedown", "page down", "a page down in the panel", "Panels"),
    Key("home", "home", "start", "to the start of the panel", "Panels"),
    Key("end", "end,G", "end", "to the end of the panel", "Panels"),
    Key("choose", "enter", "choose", "show the tensor under the cursor", "Panels"),
    Key("copy", "y", "copy", "copy what is under the cursor: a number, a node, a line", "Panels"),
    Key("copy_all", "Y", "copy all", "Tensor: copy the whole slice; else what is seen", "Panels"),
)
