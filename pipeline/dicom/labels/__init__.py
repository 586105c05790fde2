"""Labels in: RTSTRUCT and SEG on the grid of their images."""
