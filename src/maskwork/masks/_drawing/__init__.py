"""Pictures of a mask, exact at any length: terminal and SVG. They take spans and a grid."""
