"""The test bed: a real control plane, hand-made nodes and this project's own processes, on one machine.

No test lives here, and nothing of the product imports it. `platform.Bed` is the whole in one line; every
other module is one of its parts and can be used alone.
"""
