"""The update rules of optimizers: one file each, written once for an element and for a window."""
