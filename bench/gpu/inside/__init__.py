"""What runs in a process that is measured; it does not know whether there is a shim around it."""
