"""Views of one node: v, J, Jᵀ v, saved tensors, the chain from the loss, contributions."""
