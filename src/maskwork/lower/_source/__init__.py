"""A mask as Python source for other libraries, and as a formula of q and k."""
