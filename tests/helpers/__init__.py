"""Helpers of several tests: strategies of masks, oracles, small models, processes."""
