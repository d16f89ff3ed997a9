"""A node whose pods are processes of this machine: real agent, real shim, simulated GPUs, no root.

`node` plays the kubelet, `machine` is the GPUs, `bed` a control plane with such a node. `server` and `load`
are what runs on it. How slices come about is the platform's business, not this package's.
"""
