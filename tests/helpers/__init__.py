"""What several tests share: strategies of masks, oracles, small models, processes."""
