"""Making room for pods that wait: growth returned, moves proposed or carried out, and what else would help.

What is to be done is decided in ``vgpu.room``; here it is written, told and counted, pool by pool, one thing
after the other, so that two plans never spend the same room. Placing the pod then is the extender's.
"""
