"""English captions of synthetic birds in the manner of CUB's (StackGAN, 4.1), and their inverse."""

import re

from stackgan_jax.data.synthetic_birds.attributes import (
    BARE_PART_COLOURS,
    CAPTION_ATTRIBUTES,
    COLOUR_ATTRIBUTES,
    COLOURS,
    EYE_COLOURS,
)

CAPTIONS_PER_IMAGE = 10
MAX_LENGTH = 200
_SPELLINGS = {"grey": ("grey", "grey", "gray")}
_PART_NAMES = {
    "crown": ("crown", "crown", "head", "cap"),
    "back": ("back", "back", "mantle"),
    "belly": ("belly", "belly", "breast", "chest"),
    "wings": ("wings",),
    "beak": ("beak", "bill"),
    "eyes": ("eyes",),
}
_HYPHENED = {"crown": ("crowned", "headed"), "back": ("backed",), "belly": ("bellied", "breasted")}
_HYPHENED |= {"wings": ("winged",), "beak": ("billed", "beaked"), "eyes": ("eyed",)}
_SIZE_WORDS = {
    "small": ("small", "little", "tiny"),
    "medium": ("medium-sized", "medium sized"),
    "large": ("large", "big"),
}
_PATTERN_NOUNS = {
    "plain": ("plain plumage", "plain feathers"),
    "spotted": ("a spotted underside", "spots on its underside", "spotted underparts"),
    "streaked": ("a streaked underside", "streaks on its underside", "streaked underparts"),
    "wing_bars": ("wing bars", "two wing bars", "barred plumage"),
}
_BEAK_WORDS = {
    "conical": ("conical", "short conical"),
    "long": ("long", "long pointed"),
    "hooked": ("hooked",),
    "curved": ("curved", "downcurved"),
}
_TAIL_WORDS = {
    "short": ("short",),
    "long": ("long",),
    "forked": ("forked",),
    "fanned": ("fanned", "fan-shaped"),
}
_POSE_PHRASES = {
    "upright": ("perched upright", "sitting upright", "in an upright pose"),
    "level": ("holding itself level", "with its body level"),
    "forward": ("leaning forward", "bending forward"),
}
_PLACE_PHRASES = {
    "sky": ("against the sky", "before an open sky", "in front of the sky"),
    "branch": ("on a branch", "on a leafy branch", "among the branches"),
    "grass": ("in the grass", "in a meadow", "on the grass"),
    "water": ("by the water", "in the water", "on a stone in the water"),
    "snow": ("in the snow", "on snowy ground", "in falling snow"),
}
# Named by several of an image's captions, because people name them first.
_COUNTS = {1: 0.12, 2: 0.30, 3: 0.33, 4: 0.25}
_OTHERS = tuple(name for name in CAPTION_ATTRIBUTES if name not in COLOUR_ATTRIBUTES)


def _pick(rng, choices):
    return choices[rng.integers(len(choices))]


def _article(phrase):
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def _colour_word(rng, colour):
    return _pick(rng, _SPELLINGS.get(colour, (colour,)))


def _listed(phrases):
    """'x', 'x and y', 'x, y and z'."""
    if len(phrases) == 1:
        return phrases[0]
    return ", ".join(phrases[:-1]) + " and " + phrases[-1]


def _noun_phrases(rng, named, articles):
    """One phrase for each of the nouns: a red crown, yellow wings, a long orange beak, …"""
    phrases = []
    for part in ("crown", "back", "belly", "wings", "eyes"):
        if part in named:
            phrase = f"{_colour_word(rng, named[part])} {_pick(rng, _PART_NAMES[part])}"
            plural = part in ("wings", "eyes")
            phrases.append(_article(phrase) if articles and not plural else phrase)
    if "beak" in named or "beak_shape" in named:
        words = [_pick(rng, _BEAK_WORDS[named["beak_shape"]])] if "beak_shape" in named else []
        words += [_colour_word(rng, named["beak"])] if "beak" in named else []
        phrase = " ".join([*words, _pick(rng, _PART_NAMES["beak"])])
        phrases.append(_article(phrase) if articles else phrase)
    if "tail" in named:
        phrase = f"{_pick(rng, _TAIL_WORDS[named['tail']])} tail"
        phrases.append(_article(phrase) if articles else phrase)
    if "pattern" in named:
        phrase = _pick(rng, _PATTERN_NOUNS[named["pattern"]])
        phrases.append(phrase if articles else phrase.removeprefix("a "))
    return [phrases[index] for index in rng.permutation(len(phrases))]


def _take(named, *attributes):
    """Moves attributes out of `named` (those that are there) into a new dictionary."""
    return {name: named.pop(name) for name in attributes if name in named}


def _subject(rng, named):
    """'small red-crowned bird', removing from `named` what it says."""
    words = [_pick(rng, _SIZE_WORDS[value]) for value in _take(named, "size").values()]
    alike = {named.get(part) for part in ("crown", "back", "belly")}
    if len(alike) == 1 and None not in alike:
        colour = _take(named, "crown", "back", "belly")["crown"]
        words.append(_colour_word(rng, colour))
    elif rng.random() < 0.25:
        parts = [part for part in _HYPHENED if part in named]
        if parts:
            part = _pick(rng, parts)
            colour = _colour_word(rng, named.pop(part))
            words.append(f"{colour}-{_pick(rng, _HYPHENED[part])}")
    return " ".join([*words, "bird"])


def _scene(rng, named):
    """' perched upright on a branch', or '' when neither pose nor background is named."""
    taken = _take(named, "pose", "background")
    words = [_pick(rng, _POSE_PHRASES[taken["pose"]])] if "pose" in taken else []
    if "background" in taken:
        words.append(_pick(rng, _PLACE_PHRASES[taken["background"]]))
    return "".join(" " + word for word in words)


def _clause(rng, named):
    """'the crown is red', removing that part from `named`; None where no part is left."""
    parts = [part for part in ("crown", "back", "belly", "wings", "beak", "eyes") if part in named]
    if not parts:
        return None
    part = _pick(rng, parts)
    colour, name = _colour_word(rng, named.pop(part)), _pick(rng, _PART_NAMES[part])
    owner = _pick(rng, ("the", "its"))
    return f"{owner} {name} {'are' if part in ('wings', 'eyes') else 'is'} {colour}"


def _has(rng, named):
    """'this small bird has a red crown and yellow wings'."""
    subject = _subject(rng, named)
    scene, nouns = _scene(rng, named), _noun_phrases(rng, named, True)
    if not nouns:
        return f"{_pick(rng, ('this is', 'there is'))} {_article(subject)}{scene}"
    scene = f",{scene}" if scene else ""
    return f"{_pick(rng, ('this', 'the'))} {subject} has {_listed(nouns)}{scene}"


def _with(rng, named):
    """'a small bird on a branch with a red crown'."""
    subject = _subject(rng, named)
    scene, nouns = _scene(rng, named), _noun_phrases(rng, named, rng.random() < 0.7)
    start = _pick(rng, ("", "", "this is ", "a picture of "))
    with_nouns = f"with {_listed(nouns)}" if nouns else ""
    order = [scene.strip(), with_nouns]
    if rng.random() < 0.4:
        order.reverse()
    return " ".join([start + _article(subject), *(words for words in order if words)])


def _clauses(rng, named):
    """'the crown is red and its wings are yellow; this small bird is on a branch'."""
    clauses = [_clause(rng, named) for _ in range(1 + int(rng.integers(2)))]
    clauses = [clause for clause in clauses if clause]
    rest = _has(rng, named) if named else ""
    if not clauses:
        return rest
    return " and ".join(clauses) + (f", {rest}" if rest else "")


def _bird_whose(rng, named):
    """'a small bird whose crown is red, with yellow wings'."""
    subject = _subject(rng, named)
    clause, scene = _clause(rng, named), _scene(rng, named)
    nouns = _noun_phrases(rng, named, True)
    words = _article(subject) + scene
    if clause:
        words += f" whose {clause.split(' ', 1)[1]}"
    return words + (f"{',' if clause else ''} with {_listed(nouns)}" if nouns else "")


_FRAMES = (_has, _with, _with, _clauses, _bird_whose)


def caption(rng, named):
    """One English sentence that names exactly the attributes in `named` (attribute → value)."""
    text = _pick(rng, _FRAMES)(rng, dict(named))
    return text + ("." if rng.random() < 0.7 else "")


def captions(rng, bird, count=CAPTIONS_PER_IMAGE):
    """`count` captions of a bird; each names other attributes, together they name them all.

    Returns:
        list of (text of at most MAX_LENGTH characters, {attribute: value} that it names).
    """
    found = []
    covered = [set() for _ in range(count)]
    for position, name in enumerate(rng.permutation(CAPTION_ATTRIBUTES)):
        covered[position % count].add(str(name))
    for names in covered:
        wanted = rng.choice(list(_COUNTS), p=list(_COUNTS.values()))
        parts = [str(name) for name in rng.permutation(COLOUR_ATTRIBUTES)]
        alike = bird["crown"] == bird["back"] == bird["belly"]
        if alike and rng.random() < 0.6:
            parts = ["crown", "back", "belly", "wings"]
            wanted = 3 + int(rng.integers(2))
        names |= set(parts[:wanted])
        names |= {str(name) for name in rng.permutation(_OTHERS)[: rng.integers(3)]}
        named = {name: bird[name] for name in CAPTION_ATTRIBUTES if name in names}
        found.append((caption(rng, named), named))
    return found


def _alternatives(words):
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


def _lookup(phrases):
    """Word → value, from value → words."""
    return {word: value for value, words in phrases.items() for word in words}


_COLOUR_OF = {**{colour: colour for colour in (*COLOURS, *BARE_PART_COLOURS, *EYE_COLOURS)}}
_COLOUR_OF["gray"] = "grey"
_PART_OF = {
    word: part for part, words in (*_PART_NAMES.items(), *_HYPHENED.items()) for word in words
}
_COLOUR, _PART = f"(?P<colour>{_alternatives(_COLOUR_OF)})", f"(?P<part>{_alternatives(_PART_OF)})"
_COLOURED = (
    re.compile(rf"\b{_COLOUR}[ -]{_PART}\b"),
    re.compile(rf"\b{_PART} (?:is|are) {_COLOUR}\b"),
)
_WHOLE = re.compile(rf"\b{_COLOUR} bird\b")
_PHRASES = {
    "size": _lookup(_SIZE_WORDS),
    "pattern": _lookup(_PATTERN_NOUNS)
    | {
        phrase.removeprefix("a "): value
        for value, words in _PATTERN_NOUNS.items()
        for phrase in words
    },
    "pose": _lookup(_POSE_PHRASES),
    "background": _lookup(_PLACE_PHRASES),
}
_PATTERNS = {name: re.compile(rf"\b({_alternatives(words)})\b") for name, words in _PHRASES.items()}
_BEAK = re.compile(rf"\b({_alternatives(_lookup(_BEAK_WORDS))}) (?:{_COLOUR} )?(?:beak|bill)\b")
_TAIL = re.compile(rf"\b({_alternatives(_lookup(_TAIL_WORDS))}) tail\b")


def attributes_named(text):
    """{attribute: value} that a caption names; the inverse of `caption`.

    "A red bird" names crown, back and belly. Words it doesn't know are passed over, so it reads
    captions that people write too, as far as they use this vocabulary.
    """
    text = text.lower()
    named = {}
    for match in _WHOLE.finditer(text):
        colour = _COLOUR_OF[match["colour"]]
        named.update(dict.fromkeys(("crown", "back", "belly"), colour))
    for pattern in _COLOURED:
        for match in pattern.finditer(text):
            named[_PART_OF[match["part"]]] = _COLOUR_OF[match["colour"]]
    for name, pattern in _PATTERNS.items():
        match = pattern.search(text)
        if match:
            named[name] = _PHRASES[name][match[1]]
    for name, pattern, words in (("beak_shape", _BEAK, _BEAK_WORDS), ("tail", _TAIL, _TAIL_WORDS)):
        match = pattern.search(text)
        if match:
            named[name] = _lookup(words)[match[1]]
    return named
