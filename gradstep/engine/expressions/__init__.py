"""Expressions: names, functions, operators, evaluation, assignment."""
