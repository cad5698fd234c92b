"""Expressions on what a stop holds: names, functions, operators, evaluation, assignment."""
