"""The debuggee: a model, its loss, optimizer, schedulers and batches. Data and names only; it runs nothing."""
