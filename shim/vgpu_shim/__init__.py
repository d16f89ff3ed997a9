"""The two pages of a slice, in Python: limits are written, accounts are read.

For the node agent, tests and people; it speaks plain numbers, bytes and whole
per cent, and knows nothing of Kubernetes. The layout comes out of libvgpu.so
itself, so that library and binding cannot disagree.
"""
