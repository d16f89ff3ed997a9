"""Making room for a request that waits: what would let it in, and what the platform can do itself.

``survey`` knows the room of one pool, as it is and as it would be without growth; ``returning`` finds growth
to give back, ``moving`` pods that could live elsewhere, ``whatif`` the other cheapest changes. Each finding
is proven by the code that places. Nothing is written here, and the order among those who wait is another's.
"""
