"""Answers to those who ask: admission for the API server, the extender for kube-scheduler.

Each is a process of its own and imports nothing of the other; no decision is made here that the core can make.
"""
