"""The .steps language: its grammar, what a line and a script become, what is wrong with one, and completion."""
