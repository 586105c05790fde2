"""Series of images: found, judged, decoded and put on a grid."""
