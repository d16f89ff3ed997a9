"""The operator: what pools and claims say about themselves, and edits of live claims carried into the ledger.

Every status is computed from what is there, never from which event came. Placing pods, granting growth and
releasing slices are the extender's; nothing here writes them.
"""
