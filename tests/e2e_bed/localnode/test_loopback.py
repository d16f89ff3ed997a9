"""Addresses of pods on the local node."""

import ipaddress
import itertools
import random

from vgpu_e2e.localnode import loopback


def test_every_pod_has_an_address_of_its_own_on_the_loopback() -> None:
    given = list(itertools.islice(loopback.addresses(random.Random(7)), 1000))

    assert len(set(given)) == 1000
    assert all(ipaddress.ip_address(each).is_loopback for each in given)
    assert not any(each.startswith("127.0.") for each in given)


def test_the_last_address_is_followed_by_the_first() -> None:
    class Last(random.Random):
        def randint(self, a: int, b: int) -> int:
            return b

    assert next(loopback.addresses(Last())) == "127.1.0.1"
