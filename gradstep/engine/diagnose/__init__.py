"""Why something went wrong: a missing grad, a backward that torch refused, two runs that part."""
