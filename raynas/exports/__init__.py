"""Models leave the house: folders with a network in several formats, each compared with the original; predictions."""
