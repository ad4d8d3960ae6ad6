"""The method: SGT and SMOOT training, saliency, masking, and what is measured of them. No files, no pages, no plots."""
