"""A claim's settings under a load, before anybody trusts them: the loop's own decisions over a simple queue.

The decisions are those of ``vgpu.elasticity``, the same code as in the operator. The world around them is
simple on purpose, and says so: see ``world``.
"""
