"""The atoms of the mask algebra, one file per idea; each registers itself by name."""
