"""What an objective returns: batches, and how examples become one."""
