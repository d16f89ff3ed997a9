"""The certificate of vgpu-admission and the API server's trust in it, where nobody else provides them.

Runs as a Job when the chart is installed or changed, and weekly. Nothing is served here.
"""
