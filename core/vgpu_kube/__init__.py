"""The one door to the cluster: requests, caches, Events, leadership, and an in-memory cluster for tests.

Objects are raw dictionaries, as the API server sends them. Nothing here decides anything: what an object
means and what ought to be written is the business of ``vgpu`` and of the processes.
"""
