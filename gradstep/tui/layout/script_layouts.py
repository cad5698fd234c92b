"""The layouts for a training script: Source shows its line at every stop, and Stack and Output have their places."""

from __future__ import annotations

from gradstep.tui.layout.columns import Layout, column, rest

SCRIPT: dict[str, Layout] = {
    "learn": Layout(
        focus="source",
        narrow=(rest("1 script source stack output tensor * model"),),
        slim=(column(0.425, 34, 46, "9 stack model"), rest("8 source", "8 script tensor * output")),
        roomy=(column(0.385, 38, 60, "12 model", "14 stack"), rest("11 source", "10 script tensor *", "5 output log")),
        wide=(
            column(0.28, 38, 64, "3 model", "3 stack"),
            column(0.42, 38, 110, "4 source", "4 script tensor *"),
            rest("3 loss", "3 batch", "2 output log"),
        ),
    ),
    "inspect": Layout(
        focus="source",
        narrow=(rest("1 script source stack output tensor * model"),),
        slim=(column(0.425, 34, 46, "9 stack model"), rest("8 source", "8 script tensor * output")),
        roomy=(
            column(0.385, 38, 60, "10 model", "11 stack", "5 output loss ledger log"),
            rest("11 source", "15 script graph tensor *"),
        ),
        wide=(
            column(0.28, 38, 64, "3 model", "4 stack", "2 loss"),
            column(0.42, 38, 110, "4 source", "4 graph *", "4 tensor batch"),
            rest("16 script", "10 optimizer", "20 layers", "8 ledger", "10 output log"),
        ),
    ),
    "train": Layout(
        focus="loss",
        narrow=(rest("1 script loss source stack output *"),),
        slim=(column(0.425, 34, 46, "9 loss", "8 stack layers"), rest("8 source", "8 script output log *")),
        roomy=(
            column(0.45, 38, 80, "9 loss", "9 stack", "8 output log"),
            rest("9 source", "11 script layers *", "6 optimizer"),
        ),
        wide=(
            column(0.33, 38, 90, "3 loss", "3 stack", "3 output log"),
            column(0.36, 38, 100, "3 source", "3 layers", "2 optimizer batch"),
            rest("2 script model", "3 tensor *"),
        ),
    ),
}
"""Between phases."""

SCRIPT_INSIDE: dict[str, Layout] = {
    "forward": Layout(
        focus="inside",
        narrow=(rest("1 script inside source stack tensor * model"),),
        slim=(column(0.425, 34, 46, "9 stack model"), rest("8 source", "9 script inside tensor *")),
        roomy=(column(0.385, 38, 60, "11 model", "12 stack"), rest("11 source", "13 script inside tensor *")),
        wide=(
            column(0.28, 38, 64, "3 model", "3 stack"),
            column(0.42, 38, 110, "3 source", "3 script inside tensor"),
            rest("4 breakpoints *", "3 output log"),
        ),
    ),
    "backward": Layout(
        focus="jtv",
        narrow=(rest("1 script jtv inside source stack tensor * model"),),
        slim=(column(0.45, 34, 46, "1 graph stack model"), rest("7 source", "10 script jtv inside tensor *")),
        roomy=(
            column(0.385, 38, 60, "11 model", "12 stack"),
            rest("8 source", "9 script graph", "11 jtv inside tensor *"),
        ),
        wide=(
            column(0.28, 38, 64, "3 model", "3 stack"),
            column(0.42, 38, 110, "3 source", "4 graph", "5 jtv tensor"),
            rest("4 script", "4 inside", "4 ledger", "3 breakpoints *", "3 output log"),
        ),
    ),
}
"""Inside a phase; *learn*, *inspect* and *train* are the same there."""
