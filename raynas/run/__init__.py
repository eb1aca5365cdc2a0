"""The experiment on Ray Tune."""
