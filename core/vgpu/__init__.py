"""Decisions of Elastic vGPU: values in, values and their reasons out.

Nothing here reads a clock, a cluster, a file or a device, and nothing logs. Text such as ``16Gi`` and
JSON live in ``vgpu.api`` alone; every other room speaks the dataclasses of ``vgpu.values``.
"""
