"""Our own processes: shut off, told little, and how their faults are told."""
