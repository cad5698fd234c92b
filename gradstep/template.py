"""Your own model in gradstep: step it with `gradstep FILE.py:workload`.

A factory is a function without arguments that returns a gradstep.Workload. Replace the model, loss, optimizer and
batches below with yours. `gradstep FILE.py:workload --seed 0` seeds torch, python and numpy before it calls the
factory, so that every run gives the same numbers.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from gradstep import Workload


def workload() -> Workload:
    """Build what a training loop needs; gradstep runs the loop, one key per phase."""
    model = nn.Sequential(
        nn.Linear(8, 16),
        nn.Tanh(),
        nn.Linear(16, 1),
    )

    # a DataLoader of (input, target) batches is restarted when it ends; a list of batches works too
    inputs = torch.randn(128, 8)
    targets = inputs.sum(dim=-1, keepdim=True)
    batches = DataLoader(TensorDataset(inputs, targets), batch_size=32, shuffle=True)

    return Workload(
        model=model,
        loss=nn.functional.mse_loss,  # loss(model(input), target); or compute_loss=f for f(model, batch)
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.05),
        batches=batches,
        schedulers=lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.9),
        schedule="epoch",  # when they step: after each optimizer "step", or at the end of each "epoch" of batches
        show="2.weight",  # the slice that the Tensor panel opens on
    )
