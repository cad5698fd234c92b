"""The controllers of the screen, one for each group of keys."""
