"""The words and phrases with which captions name attributes.

Each table maps a value to its words, of which a caption draws one. A word that is listed twice is
drawn twice as often. Captions are a function of these tables: any
change of their entries or order changes the data set.
"""

# Colours with more than one spelling.
SPELLINGS = {"grey": ("grey", "grey", "gray")}
# Part → nouns: "a red crown".
PART_NAMES = {
    "crown": ("crown", "crown", "head", "cap"),
    "back": ("back", "back", "mantle"),
    "belly": ("belly", "belly", "breast", "chest"),
    "wings": ("wings",),
    "beak": ("beak", "bill"),
    "eyes": ("eyes",),
}
# Part → endings: "red-crowned".
HYPHENED = {
    "crown": ("crowned", "headed"),
    "back": ("backed",),
    "belly": ("bellied", "breasted"),
    "wings": ("winged",),
    "beak": ("billed", "beaked"),
    "eyes": ("eyed",),
}
# The attributes `size`, `pattern`, `beak_shape`, `tail`, `pose` and `background`.
SIZE_WORDS = {
    "small": ("small", "little", "tiny"),
    "medium": ("medium-sized", "medium sized"),
    "large": ("large", "big"),
}
PATTERN_NOUNS = {
    "plain": ("plain plumage", "plain feathers"),
    "spotted": ("a spotted underside", "spots on its underside", "spotted underparts"),
    "streaked": ("a streaked underside", "streaks on its underside", "streaked underparts"),
    "wing_bars": ("wing bars", "two wing bars", "barred plumage"),
}
BEAK_WORDS = {
    "conical": ("conical", "short conical"),
    "long": ("long", "long pointed"),
    "hooked": ("hooked",),
    "curved": ("curved", "downcurved"),
}
TAIL_WORDS = {
    "short": ("short",),
    "long": ("long",),
    "forked": ("forked",),
    "fanned": ("fanned", "fan-shaped"),
}
POSE_PHRASES = {
    "upright": ("perched upright", "sitting upright", "in an upright pose"),
    "level": ("holding itself level", "with its body level"),
    "forward": ("leaning forward", "bending forward"),
}
PLACE_PHRASES = {
    "sky": ("against the sky", "before an open sky", "in front of the sky"),
    "branch": ("on a branch", "on a leafy branch", "among the branches"),
    "grass": ("in the grass", "in a meadow", "on the grass"),
    "water": ("by the water", "in the water", "on a stone in the water"),
    "snow": ("in the snow", "on snowy ground", "in falling snow"),
}
