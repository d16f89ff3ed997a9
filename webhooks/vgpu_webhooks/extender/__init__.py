"""The scheduler extender: where labelled pods go, and the only writer of who holds what.

kube-scheduler asks over localhost. ``filter`` and ``bind`` answer it, ``preempt`` vetoes useless victims;
``release``, ``grant`` and ``wake`` keep the ledger true between its calls; ``view`` is what all of them know
and ``ledger`` how they write it. Decisions are made in the core: here they are asked for, written and told.
"""
