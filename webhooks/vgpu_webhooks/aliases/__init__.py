"""Makes the claims that admission has noted on pods written for other GPU sharing systems.

Runs only where the chart's hami.aliases says so, under an account that may create claims. What such pods mean
is decided in ``vgpu_webhooks.admission.hami``.
"""
