"""The admission webhooks: labelled pods get what joins them to their slice, our kinds their checks.

Stateless: what is known comes from watches, and an answer depends on that and the request only. Nothing is
ever written to the cluster here. What needs no cluster stands in the CRDs' schemas and in the policies.
"""
