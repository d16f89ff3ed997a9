"""How fast pods are bound on a real control plane, beside the same scheduler without an extender."""
