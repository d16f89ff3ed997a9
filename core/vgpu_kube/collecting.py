"""How often Python looks for circles of dead objects, in processes that keep a cluster's objects.

Decoded lists are many small containers without circles. At Python's own pace the search for some among them
takes half of the time in which 40,000 pods are read.
"""

import gc

THRESHOLDS = (100_000, 20, 50)
"""New containers before the young are searched, and so many searches before that of the next older ones."""


def rarely() -> None:
    """Search rarely: called once by a process, before it reads anything."""
    gc.set_threshold(*THRESHOLDS)
