"""Films and cameras in, annotated films out."""
