"""What text, JSON and pickle must carry of a mask."""

from __future__ import annotations

import pickle

import maskwork as mw


def assert_carried(mask: mw.Mask):
    """Check that text, JSON and pickle carry the mask, and that equal masks have one hash."""
    copies = [
        mw.parse(mask.to_text(arrays="full")),
        mw.Mask.from_json(mask.to_json()),
        pickle.loads(pickle.dumps(mask)),
    ]
    for copy in copies:
        assert copy == mask
        assert hash(copy) == hash(mask)
        assert (copy.batch, copy.heads) == (mask.batch, mask.heads)
