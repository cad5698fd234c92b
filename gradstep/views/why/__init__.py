"""Why a number is what it is: the sentence, the arithmetic of an element, its ledger."""
