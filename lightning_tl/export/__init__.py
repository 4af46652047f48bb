"""Checkpoints as files that other programs open."""
