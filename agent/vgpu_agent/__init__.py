"""The node agent: from the ledger into the container, and the inner loop of one node.

It finds the node's GPUs (``devices``, a backend per vendor), tells the cluster of them (``publishing``), is
the CSI node plugin that lets no container start without its limits (``csi``), writes limits and reports what
is in force (``limits``), lends idle compute (``lending``), watches for what escapes (``audit``) and exports
metrics (``exporter``). What a slice may have is decided elsewhere and never here; nothing in this package
ends a process of a tenant, and a running pod's files are changed through its limits page only.
"""
