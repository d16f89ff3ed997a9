"""The outer loop's decisions: how large a claim's slices should be, and how many replicas it needs.

Pure: the time, the signals and what the pool can give are arguments, and what the loop remembers of a claim
goes in and comes out as a value. Reading Prometheus, writing ledgers and scaling Deployments is not done
here; lending idle compute from moment to moment is ``vgpu.lending``.
"""
