"""CUB-200-2011, Oxford-102, COCO 2014 and StackGAN's pickles, from their owners' files."""
