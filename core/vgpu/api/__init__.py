"""The API edge: objects as the cluster stores them, turned into values and back.

Quantities, conditions and schema models live here and nowhere below; no decision does, and no connection.
"""

from vgpu.api.errors import InvalidObject

__all__ = ["InvalidObject"]
