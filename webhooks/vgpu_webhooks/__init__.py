"""Answers to those who ask: admission for the API server, the extender for kube-scheduler.

Each is a process of its own and imports nothing of the other; what the core can decide is not decided here.
"""
