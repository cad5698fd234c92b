"""Checks of the data: inputs and labels, read from what the graph of the loss has saved."""
