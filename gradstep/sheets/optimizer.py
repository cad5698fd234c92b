"""The Optimizer view as a sheet: groups with their hyper-parameters, and the selected parameter's state."""

from __future__ import annotations

from gradstep.sheets.sheet import Block, Cell, Sheet, Table, Words, norm_cell
from gradstep.values import numbers
from gradstep.values.views.training import GroupRow, OptimizerView, SlotRow, other_line


def optimizer_sheet(view: OptimizerView) -> Sheet:
    """Return the errors in the groups first, then the groups, then the state."""
    blocks: list[Block] = []
    if view.missing:
        blocks.append(Words(f"✗ in no group, so no step updates it: {', '.join(view.missing)}", "bad"))
    if view.twice:
        blocks.append(Words(f"✗ in the groups twice, so a step updates it twice: {', '.join(view.twice)}", "bad"))
    if view.schedulers:
        when = {"step": " after every step", "epoch": " at the end of every epoch"}.get(view.schedule, "")
        blocks.append(Words(f"{', '.join(view.schedulers)} updates lr{when}", "dim"))
    history = any(len({point.rate for point in group.rates}) > 1 for group in view.groups)
    head = ("group", "tensors", "elements", "lr", *(("lr was",) if history else ()))
    if view.groups:
        blocks.append(Table(head, tuple(_group(group)[: len(head)] for group in view.groups), left=(0, 4)))
    blocks += [Words(_hyper(group, len(view.groups) > 1)) for group in view.groups if group.hyper]
    if view.slots:
        title = f"state of {view.path}"
        head = ("", "shape", "dtype", "norm", "value")
        blocks.append(Table(head, tuple(map(_slot, view.slots)), title=title, left=(0, 4)))
    blocks += [Words(other_line(other), "dim") for other in view.others]
    if view.note:
        blocks.append(Words(f"{view.path}: {view.note}" if view.path else view.note, "dim"))
    name = f"{view.name}, {numbers.count(len(view.groups), 'group')}" if view.groups else view.name
    return Sheet("Optimizer", name, tuple(blocks))


def _group(group: GroupRow) -> tuple[Cell, ...]:
    was = {point.rate for point in group.rates}
    history = f"{numbers.short(min(was))} to {numbers.short(max(was))}" if len(was) > 1 else ""
    return (
        Cell(str(group.number), "bright" if group.selected else ""),
        Cell(f"{group.parameters:,}"),
        Cell(f"{group.elements:,}"),
        Cell("" if group.rate is None else numbers.short(group.rate), "bright"),
        Cell(history, "dim"),
    )


def _hyper(group: GroupRow, several: bool) -> str:
    """Return every hyper-parameter except lr, which is in the table."""
    name = f"group {group.number}:  " if several else ""
    return name + "  ·  ".join(f"{key} {value}".replace("-", numbers.MINUS) for key, value in group.hyper)


def _slot(slot: SlotRow) -> tuple[Cell, ...]:
    shape = numbers.shape(slot.shape) if slot.dtype else ""
    return Cell(slot.key), Cell(shape, "dim"), Cell(slot.dtype, "dim"), norm_cell(slot.norm), Cell(slot.text)
