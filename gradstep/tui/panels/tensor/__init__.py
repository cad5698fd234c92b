"""The panel Tensor."""
