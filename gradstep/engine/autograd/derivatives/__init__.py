"""The derivatives of torch's operations in the field's notation, a table for each family of nodes."""
