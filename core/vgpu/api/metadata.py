"""The part of every object's metadata that converters read."""

from collections.abc import Mapping

from vgpu.api import schema


class Metadata(schema.Model):
    """Name and origin of an object; what the API server has not given it yet is empty."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


def read(raw: object, *, kind: str) -> Metadata:
    """The metadata of an object. Raises InvalidObject where it is none that an API server would store."""
    return schema.read(Metadata, raw, field="metadata", kind=kind)
