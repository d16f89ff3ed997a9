"""The outer loop in the cluster: from Prometheus and the ledger to wishes, shrinks and replicas.

Every few seconds, and at once when a node reports pressure, each claim's facts go through
``vgpu.elasticity.decision``; what it decides is written here and nowhere else. Without an answer from
Prometheus everything stays as it is, and the claim says so. What a claim then says of itself is decided in
``claim_conditions``.

    prometheus ─► asking ─► signals ─┐
    view (ledger, pods, pools) ──────┴► assembly ─► decide ─► writing, targets ─► outcomes ─► status
"""
