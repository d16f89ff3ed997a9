"""What can go wrong in the bed, as one exception whose message says what was expected, found and to do."""


class BedError(RuntimeError):
    """The bed cannot do what it was asked to; the message is meant to be read by a person."""
