"""The reference pages, written from what they describe: ``make generate`` writes, a test finds what is stale.

Pages that people write (tutorial, howto, explanation, decisions) live beside this package, not in it.
"""
