"""Everything that the next phase can depend on, a file for each part of it, and what walks over all of them."""
