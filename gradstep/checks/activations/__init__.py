"""Checks of activations: units that are dead, outputs that are saturated."""
