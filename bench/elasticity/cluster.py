"""The cards and who holds what on them: placing, resizing and lending, within one GPU and its memory."""

from elasticity import policy, servers
from vgpu import lending, values

MEMORY_BYTES = 80 * values.GIB
WHOLE = 100
PERIOD_NS = round(servers.STEP * 1e9)


class Cluster:
    """A pool of equal cards. Policies' wishes are clamped here, never refused as a whole."""

    def __init__(self, cards: int, *, lends: bool, ceiling: float) -> None:
        self.cards: list[list[tuple[servers.Service, servers.Server]]] = [[] for _ in range(cards)]
        self.lends, self._ceiling = lends, ceiling
        self.changes = self.flips = self.starts = self.unplaced = 0
        self._next = 0

    def forget(self) -> None:
        """Begin to count anew."""
        self.changes = self.flips = self.starts = self.unplaced = 0

    def free(self, card: int) -> int:
        """Percent of the card that nobody holds."""
        return WHOLE - sum(server.share for _, server in self.cards[card])

    def free_memory(self, card: int) -> int:
        """Bytes of the card that nobody holds."""
        return MEMORY_BYTES - sum(server.memory_bytes for _, server in self.cards[card])

    def view(self) -> tuple[policy.Card, ...]:
        """The cards as policies see them."""
        return tuple(
            policy.Card(
                free_percent=self.free(card),
                free_memory_bytes=self.free_memory(card),
                awake=sum(not server.asleep for _, server in held),
            )
            for card, held in enumerate(self.cards)
        )

    def start(self, service: servers.Service, new: policy.New, *, ready_at: float) -> servers.Server | None:
        """A server where its policy wishes it; None when there is no such place."""
        memory = service.profile.memory_bytes
        cards = [
            card
            for card in range(len(self.cards))
            if self.free(card) >= max(new.share, new.room or 0) and self.free_memory(card) >= memory
        ]
        card = min(cards, key=lambda card: self._rank(service, new, card), default=None)
        if card is None:
            self.unplaced += 1
            return None
        self._next += 1
        server = servers.Server(
            f"{service.name}-{self._next}", card=card, share=new.share, memory_bytes=memory, ready_at=ready_at
        )
        service.add(server)
        self.cards[card].append((service, server))
        self.starts += 1
        return server

    def _rank(self, service: servers.Service, new: policy.New, card: int) -> tuple[int, ...]:
        own = sum(each.card == card for each in service.servers)
        unused = all(server.asleep for _, server in self.cards[card])
        if new.spread:
            return (own > 0, self.free(card), card)
        if new.room is None and not new.standby:
            return (self.free(card), own, card)
        return (unused, own, self.free(card), card)

    def remove(self, service: servers.Service, server: servers.Server) -> None:
        """End a server and free what it holds."""
        service.remove(server)
        self.cards[server.card].remove((service, server))

    def resize(self, server: servers.Server, share: int, *, now: float) -> None:
        """Change an allocation, growth as far as the card has room."""
        share = max(1, min(share, server.share + self.free(server.card), WHOLE))
        if share == server.share:
            return
        self.changes += 1
        if share > server.share:
            self.flips += now - server.shrunk_at < 60
        else:
            server.shrunk_at = now
        server.share = share

    def lend(self, now: float) -> None:
        """Put the shares of the next 100 ms into force, with idle compute lent where the policy lends."""
        for held in self.cards:
            lent = self._lent(held) if self.lends else {}
            for service, server in held:
                force = server.share + lent.get(server.id, 0)
                if force != server.force:
                    service.reshare(server, force, now)

    def _most(self, service: servers.Service, server: servers.Server) -> int:
        """The claim's limit: a multiple of its efficient slice."""
        limit = min(WHOLE, int(self._ceiling * service.profile.curve.efficient_percent))
        return max(server.share, limit)

    def _lent(self, held: list[tuple[servers.Service, servers.Server]]) -> dict[str, int]:
        tenants = [
            lending.Tenant(
                id=server.id,
                allocated_percent=server.share,
                ceiling_percent=self._most(service, server),
                used_ns=round(server.used * 1e7),
                throttled_ns=round(server.throttled * 1e9),
            )
            for service, server in held
            if not server.asleep
        ]
        before = {server.id: server.before for _, server in held if server.before is not None}
        shares = lending.share(tenants, before, period_ns=PERIOD_NS)
        for _, server in held:
            server.before = shares.get(server.id)
        return {id_: share.lent_percent for id_, share in shares.items()}
