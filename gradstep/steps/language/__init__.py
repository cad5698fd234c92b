"""The .steps language: grammar, parser, faults, completion."""
