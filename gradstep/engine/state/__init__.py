"""The state: everything that the next phase can depend on, one file per part, and a registry of the parts."""
