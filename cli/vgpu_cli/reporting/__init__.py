"""One self-contained page: pools, cards, claims, and decisions over time; no script, no link to anywhere."""
