"""The CSI node plugin: the door through which no container starts without its limits.

``service`` is what the kubelet's calls mean, ``server`` puts them on sockets. The messages are generated from
the two .proto files (``python -m vgpu_agent.csi.generate``) and committed. What limits are is not known here.
"""
