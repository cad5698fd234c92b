"""The panels: each draws one view as lines, and computes nothing about the model."""
