"""Where a request goes: one node and the devices on it, or a reason for every node.

``policies`` holds the strategies behind the one interface of ``policy``, ``choice`` the decision over all
nodes and ``board`` the same decision kept fast, ``explain`` the words. ``mix`` is what requests to expect,
``fragmentation`` and ``scarcity`` what that means for free room. Quotas are asked before, the ledger is
written after; neither happens here.
"""
