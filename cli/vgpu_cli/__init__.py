"""``kubectl vgpu``: what the cluster's GPUs are doing, in the words of whoever asks.

One file per command under ``commands``; the cluster is read in ``reading``, lines are drawn in ``drawing``.
Nothing is decided here that a process of the platform decides: what-ifs call the same core. Importing this
package is cheap on purpose, because people wait for a prompt.
"""
