"""Measure this project beside a hand-written loop, Beam's own RunInference, and other systems."""
