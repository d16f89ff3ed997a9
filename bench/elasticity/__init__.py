"""The elastic loop beside its rivals on public traces: a seeded simulation of servers on shared GPUs.

The decisions of our loop and the lending between slices are the code that runs in production.
"""
