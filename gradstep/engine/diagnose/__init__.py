"""Diagnosis of failures: a missing .grad, an error in backward, two runs that diverge."""
