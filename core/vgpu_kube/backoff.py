"""How long to wait before trying again: exponential, with jitter, started anew after success."""

import random
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Backoff:
    """Delays in seconds, each drawn evenly from the upper half of a range that doubles up to a limit."""

    first: float = 0.1
    limit: float = 30.0
    rng: random.Random = field(default_factory=random.Random)
    _range: float = 0.0

    def failed(self) -> float:
        """The delay after one more failure."""
        self._range = min(self.limit, self._range * 2 or self.first)
        return self._range * self.rng.uniform(0.5, 1.0)

    def succeeded(self) -> None:
        """The next failure is the first again."""
        self._range = 0.0
