"""Latency histograms read from the text that /metrics answers."""

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

HISTOGRAM = "vgpu_placement_duration_seconds"


async def text(url: str) -> str:
    """What a process of ours says about itself."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        return await response.text()


def buckets(text: str, verb: str) -> list[tuple[float, float]]:
    """(upper bound in seconds, count so far) of one verb's latency, ascending."""
    found = [
        (float(sample.labels["le"]), sample.value)
        for family in text_string_to_metric_families(text)
        if family.name == HISTOGRAM
        for sample in family.samples
        if sample.name == f"{HISTOGRAM}_bucket" and sample.labels.get("verb") == verb
    ]
    return sorted(found)
