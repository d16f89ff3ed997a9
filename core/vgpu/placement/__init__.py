"""Where a request goes: one node and the devices on it, or a reason for every node.

``policies`` holds the strategies behind one interface, ``choice`` the decision over all nodes, ``explain``
the words. Quotas are asked before, the ledger is written after; neither happens here.
"""
