"""Distilled data: a few synthetic images a class that train a network almost as real data would.

Backbones: gradient matching (DC, DSA), distribution matching (DM), trajectory matching (MTT), addressable memories
(RTP), and random real images as the control. Everything here needs torch; import the submodules when a case runs.
"""
