"""The panel Jᵀ v."""
