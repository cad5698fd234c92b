"""One panel a file, each drawing one view."""
