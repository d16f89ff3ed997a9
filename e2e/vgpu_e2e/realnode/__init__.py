"""A node with a real kubelet, containerd and runc: the local node's cases in real containers. Needs root.

`images` are made without a registry, `runtime` is containerd, `kubelet` the kubelet, `bed` the platform with
them. The GPUs are simulated, as on the local node.
"""
