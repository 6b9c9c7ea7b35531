"""Where filters stand, layer by layer: from a vector per filter to a place in the layer's disc.

`vectors` tells live filters from dead ones, `embedding` puts the live ones into the plane, `smoothing` spreads them
evenly over a disc, `quality` says what that cost, and `rotation` turns and mirrors the discs so that heavy kernels are
short (paper, section 2.3 and Fig. 12); `layer` is all of it for one layer. None of these knows Neo4j or torch.
"""
