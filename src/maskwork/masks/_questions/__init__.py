"""Questions about a bound mask: why a cell is allowed, where masks differ, what a mask costs, what it reaches."""
