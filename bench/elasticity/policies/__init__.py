"""One file per policy, each from its published formula; the constants that decide are arguments to sweep."""
