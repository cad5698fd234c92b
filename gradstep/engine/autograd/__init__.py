"""The grad_fn graph and its nodes: edges, saved tensors, Jacobians, derivatives."""
