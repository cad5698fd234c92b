"""Views that explain a number: the sentence, the arithmetic of an element, its ledger."""
