"""Labels out: SEG, RTSTRUCT and TID 1500 reports that refer to their images."""
