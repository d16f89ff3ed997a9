"""How quick the node agent is and what it costs; each figure beside what does the same without it."""
