"""Find the sheet of a view."""

from __future__ import annotations

from gradstep.sheets.batch import batch_sheet
from gradstep.sheets.contributions import contributions_sheet
from gradstep.sheets.graph import graph_sheet
from gradstep.sheets.layers import layers_sheet
from gradstep.sheets.loss import loss_sheet
from gradstep.sheets.model import model_sheet
from gradstep.sheets.optimizer import optimizer_sheet
from gradstep.sheets.outcome import changes_sheet, outcome_sheet
from gradstep.sheets.reasons import ledger_sheet, why_sheet
from gradstep.sheets.sheet import Sheet, Words
from gradstep.sheets.tensor import tensor_sheet
from gradstep.values import views
from gradstep.values.outcomes import Outcome
from gradstep.values.views import training
from gradstep.values.views.contributions import ContributionsView
from gradstep.values.views.drawn import Drawn
from gradstep.values.views.graph import GraphView
from gradstep.values.views.ledger import LedgerView


def sheet_of(view: Drawn) -> Sheet:
    """Return the sheet of a view."""
    match view:
        case views.TensorView():
            return tensor_sheet(view)
        case GraphView():
            return graph_sheet(view)
        case ContributionsView():
            return contributions_sheet(view)
        case views.WhyView():
            return why_sheet(view)
        case LedgerView():
            return ledger_sheet(view)
        case views.ModelView():
            return model_sheet(view)
        case views.LossView():
            return loss_sheet(view)
        case training.LayersView():
            return layers_sheet(view)
        case training.OptimizerView():
            return optimizer_sheet(view)
        case training.BatchView():
            return batch_sheet(view)
        case views.Changes():
            return changes_sheet(view)
        case Outcome():
            return outcome_sheet(view)
        case views.NoView():
            return Sheet("nothing to show", "", (Words(view.why),))
        case _:
            raise TypeError(f"{type(view).__name__} has no sheet")
