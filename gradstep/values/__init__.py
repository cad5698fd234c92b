"""The vocabulary of gradstep: commands, outcomes, stops, expressions and views; frozen, serialisable, torch-free."""
