"""For applications that can give GPU memory back: calls them when their slice's memory changes.

    import vgpu_client

    def resize(change: vgpu_client.Change) -> vgpu_client.Answer:
        cache.shrink_to(change.target_bytes - weights_bytes)
        return vgpu_client.applied() if cache.fits else vgpu_client.deferred("3 requests in flight")

    vgpu_client.watch(resize)

It lies in every slice's volume (``/run/vgpu/python``) and needs nothing but Python 3.9. Outside of a slice it
does nothing, and it never ends the application it runs in: what the callback raises is an answer like others.
Nothing here enforces a limit; that is the shim's.
"""

from vgpu_client.answers import FILE as ANSWER_FILE
from vgpu_client.answers import MESSAGE_MAX, Answer, applied, deferred
from vgpu_client.page import Change, NoSliceError
from vgpu_client.watching import Watch, watch

__all__ = [
    "ANSWER_FILE",
    "MESSAGE_MAX",
    "Answer",
    "Change",
    "NoSliceError",
    "Watch",
    "applied",
    "deferred",
    "watch",
]
