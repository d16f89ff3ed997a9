"""The scheduler extender: where labelled pods go, and the only writer of who holds what.

kube-scheduler asks over localhost: ``filter`` and ``bind`` answer it, ``preempt`` vetoes useless victims.
Between its calls ``release`` and ``grant`` keep the ledger true, and ``rounds`` decides who of those in
``waiting`` is next: ``usher`` leads them to their places, ``herald`` tells the others why not yet, ``gangs``
knows who starts together. ``view`` is what all of them know and ``writing`` how they write. Decisions are
made in the core: here they are asked for, written and told.
"""
