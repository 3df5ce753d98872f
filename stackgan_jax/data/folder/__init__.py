"""A folder of anyone's pictures and captions, in several layouts."""
