"""A mask as source code for other libraries, and as a formula."""
