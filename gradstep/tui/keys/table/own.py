"""The keys that belong to one panel."""

from __future__ import annotations

from gradstep.tui.keys.table.key import Footer, Key

OWN: tuple[Key, ...] = (
    Key(
        "tensor_element",
        "g",
        "go to element",
        "Tensor: go to an index, or to max, min, abs, change, nan or inf",
        "Panels",
        panel="tensor",
    ),
    Key("tensor_heat", "H", "heat map", "Tensor: toggle numbers and heat map", "Panels", panel="tensor"),
    Key(
        "tensor_quantity",
        "v",
        "value or change",
        "Tensor: cycle values, changes by the last phase, relative changes",
        "Panels",
        panel="tensor",
    ),
    Key(
        "tensor_dims",
        "d",
        "dimensions",
        "Tensor: show the next two dimensions as rows and columns",
        "Panels",
        panel="tensor",
    ),
    Key(
        "tensor_back",
        "comma",
        "index back",
        "Tensor: the previous index of the dimensions that are neither rows nor columns",
        "Panels",
        panel="tensor",
    ),
    Key(
        "tensor_on",
        "full_stop",
        "index on",
        "Tensor: the next index of the dimensions that are neither rows nor columns",
        "Panels",
        panel="tensor",
    ),
    Key(
        "tensor_statistics",
        "D",
        "statistics",
        "Tensor: toggle one line and full statistics with a histogram of the slice",
        "Panels",
        panel="tensor",
    ),
    Key("loss_scale", "L", "loss scale", "Loss: cycle automatic, log and linear scale", "Panels", panel="loss"),
    Key("loss_smooth", "A", "loss average", "Loss: cycle moving averages, or none", "Panels", panel="loss"),
    Key(
        "loss_axis",
        "I",
        "loss by iteration",
        "Loss: toggle forwards and iterations on the axis",
        "Panels",
        panel="loss",
    ),
    Key(
        "jtv_check",
        "F",
        "finite differences",
        "Jᵀ v: toggle a check of J against finite differences; of a custom Function, also its double backward",
        "Panels",
        panel="jtv",
    ),
    Key(
        "jtv_insist",
        "X",
        "compute anyway",
        "Jᵀ v: compute an expensive J anyway; may rerun a custom Function's backward",
        "Panels",
        panel="jtv",
    ),
    Key(
        "jtv_strip",
        "V",
        "row or column of J",
        "Jᵀ v: cycle one row of J, one column, or neither, however large J is; g to choose, ←→ for the next",
        "Panels",
        panel="jtv",
    ),
    Key(
        "contributions_order",
        "percent_sign",
        "by share",
        "Contributions: toggle largest share first and the engine's order of accumulation",
        "Panels",
        panel="contributions",
    ),
    Key("fold", "minus", "fold", "Graph: fold the module into one row", "Panels", panel="graph"),
    Key("unfold", "plus", "unfold", "Graph: unfold the module", "Panels", panel="graph"),
    Key("fold_all", "underscore", "fold all", "Graph: fold all modules", "Panels", panel="graph"),
    Key("unfold_all", "asterisk", "unfold all", "Graph: unfold all modules", "Panels", panel="graph"),
    Key(
        "measure", "M", "measure", "Graph: measure the memory of a large graph's saved tensors", "Panels", panel="graph"
    ),
    Key(
        "traceback", "t", "traceback", "toggle an error's full traceback", "Panels", panel="why", footer=Footer(rank=2)
    ),
)
