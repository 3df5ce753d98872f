"""CUB-200-2011, Oxford-102, COCO 2014 and StackGAN's pickles, read from the published files."""
