"""Writes English captions of synthetic birds, and finds the attributes that a caption names.

The captions follow the style of those of CUB (StackGAN, sec. 4.1).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from stackgan_jax.data.synthetic_birds.attributes import (
    BARE_PART_COLOURS,
    CAPTION_ATTRIBUTES,
    COLOUR_ATTRIBUTES,
    COLOURS,
    EYE_COLOURS,
)
from stackgan_jax.data.synthetic_birds.vocabulary import (
    BEAK_WORDS,
    HYPHENED,
    PART_NAMES,
    PATTERN_NOUNS,
    PLACE_PHRASES,
    POSE_PHRASES,
    SIZE_WORDS,
    SPELLINGS,
    TAIL_WORDS,
)

CAPTIONS_PER_IMAGE = 10
MAX_LENGTH = 200  # characters

Named = dict[str, str]  # attribute → value

# How many colours a caption names → probability. Colours are in several captions of an image,
# because people name them first.
_COLOUR_COUNTS = {1: 0.12, 2: 0.30, 3: 0.33, 4: 0.25}
_OTHERS = tuple(name for name in CAPTION_ATTRIBUTES if name not in COLOUR_ATTRIBUTES)


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[rng.integers(len(choices))]


def _article(phrase: str) -> str:
    """Returns the phrase with its article: 'a bird', 'an eye'."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def _colour_word(rng: np.random.Generator, colour: str) -> str:
    return _pick(rng, SPELLINGS.get(colour, (colour,)))


def _listed(phrases: Sequence[str]) -> str:
    """Joins phrases: 'x', 'x and y', 'x, y and z'."""
    if len(phrases) == 1:
        return phrases[0]
    return ", ".join(phrases[:-1]) + " and " + phrases[-1]


def _noun_phrases(rng: np.random.Generator, named: Named, articles: bool) -> list[str]:
    """Returns one phrase for each noun, in random order: 'a red crown', 'yellow wings'."""
    phrases = []
    for part in ("crown", "back", "belly", "wings", "eyes"):
        if part in named:
            phrase = f"{_colour_word(rng, named[part])} {_pick(rng, PART_NAMES[part])}"
            plural = part in ("wings", "eyes")
            phrases.append(_article(phrase) if articles and not plural else phrase)
    if "beak" in named or "beak_shape" in named:
        words = [_pick(rng, BEAK_WORDS[named["beak_shape"]])] if "beak_shape" in named else []
        words += [_colour_word(rng, named["beak"])] if "beak" in named else []
        phrase = " ".join([*words, _pick(rng, PART_NAMES["beak"])])
        phrases.append(_article(phrase) if articles else phrase)
    if "tail" in named:
        phrase = f"{_pick(rng, TAIL_WORDS[named['tail']])} tail"
        phrases.append(_article(phrase) if articles else phrase)
    if "pattern" in named:
        phrase = _pick(rng, PATTERN_NOUNS[named["pattern"]])
        phrases.append(phrase if articles else phrase.removeprefix("a "))
    return [phrases[index] for index in rng.permutation(len(phrases))]


def _take(named: Named, *attributes: str) -> Named:
    """Moves attributes from `named`, as far as it has them, into a new dictionary."""
    return {name: named.pop(name) for name in attributes if name in named}


def _subject(rng: np.random.Generator, named: Named) -> str:
    """Returns 'small red-crowned bird', and removes the attributes it uses from `named`."""
    words = [_pick(rng, SIZE_WORDS[value]) for value in _take(named, "size").values()]
    alike = {named.get(part) for part in ("crown", "back", "belly")}
    if len(alike) == 1 and None not in alike:
        colour = _take(named, "crown", "back", "belly")["crown"]
        words.append(_colour_word(rng, colour))
    elif rng.random() < 0.25:
        parts = [part for part in HYPHENED if part in named]
        if parts:
            part = _pick(rng, parts)
            colour = _colour_word(rng, named.pop(part))
            words.append(f"{colour}-{_pick(rng, HYPHENED[part])}")
    return " ".join([*words, "bird"])


def _scene(rng: np.random.Generator, named: Named) -> str:
    """Returns ' perched upright on a branch', or '' if neither pose nor background is named."""
    taken = _take(named, "pose", "background")
    words = [_pick(rng, POSE_PHRASES[taken["pose"]])] if "pose" in taken else []
    if "background" in taken:
        words.append(_pick(rng, PLACE_PHRASES[taken["background"]]))
    return "".join(" " + word for word in words)


def _clause(rng: np.random.Generator, named: Named) -> str | None:
    """Returns 'the crown is red', and removes that part from `named`; None if no part is left."""
    parts = [part for part in ("crown", "back", "belly", "wings", "beak", "eyes") if part in named]
    if not parts:
        return None
    part = _pick(rng, parts)
    colour, name = _colour_word(rng, named.pop(part)), _pick(rng, PART_NAMES[part])
    owner = _pick(rng, ("the", "its"))
    return f"{owner} {name} {'are' if part in ('wings', 'eyes') else 'is'} {colour}"


def _has(rng: np.random.Generator, named: Named) -> str:
    """Returns 'this small bird has a red crown and yellow wings'."""
    subject = _subject(rng, named)
    scene, nouns = _scene(rng, named), _noun_phrases(rng, named, True)
    if not nouns:
        return f"{_pick(rng, ('this is', 'there is'))} {_article(subject)}{scene}"
    scene = f",{scene}" if scene else ""
    return f"{_pick(rng, ('this', 'the'))} {subject} has {_listed(nouns)}{scene}"


def _with(rng: np.random.Generator, named: Named) -> str:
    """Returns 'a small bird on a branch with a red crown'."""
    subject = _subject(rng, named)
    scene, nouns = _scene(rng, named), _noun_phrases(rng, named, rng.random() < 0.7)
    start = _pick(rng, ("", "", "this is ", "a picture of "))
    with_nouns = f"with {_listed(nouns)}" if nouns else ""
    order = [scene.strip(), with_nouns]
    if rng.random() < 0.4:
        order.reverse()
    return " ".join([start + _article(subject), *(words for words in order if words)])


def _clauses(rng: np.random.Generator, named: Named) -> str:
    """Returns 'the crown is red and its wings are yellow; this small bird is on a branch'."""
    clauses = [_clause(rng, named) for _ in range(1 + int(rng.integers(2)))]
    clauses = [clause for clause in clauses if clause]
    rest = _has(rng, named) if named else ""
    if not clauses:
        return rest
    return " and ".join(clauses) + (f", {rest}" if rest else "")


def _bird_whose(rng: np.random.Generator, named: Named) -> str:
    """Returns 'a small bird whose crown is red, with yellow wings'."""
    subject = _subject(rng, named)
    clause, scene = _clause(rng, named), _scene(rng, named)
    nouns = _noun_phrases(rng, named, True)
    words = _article(subject) + scene
    if clause:
        words += f" whose {clause.split(' ', 1)[1]}"
    return words + (f"{',' if clause else ''} with {_listed(nouns)}" if nouns else "")


_SENTENCES: tuple[Callable[[np.random.Generator, Named], str], ...] = (
    _has,
    _with,
    _with,
    _clauses,
    _bird_whose,
)


def caption(rng: np.random.Generator, named: Mapping[str, str]) -> str:
    """Returns one English sentence that names exactly the attributes in `named`.

    Args:
      rng: the sentence is a function of its state and `named`.
      named: attribute → value.
    """
    text = _pick(rng, _SENTENCES)(rng, dict(named))
    return text + ("." if rng.random() < 0.7 else "")


def captions(
    rng: np.random.Generator, bird: Mapping[str, str], count: int = CAPTIONS_PER_IMAGE
) -> list[tuple[str, Named]]:
    """Returns captions of a bird. Each names some attributes, and together they name all.

    Args:
      rng: the captions are a function of its state and `bird`.
      bird: attribute → value, every attribute of `attributes.ATTRIBUTES`.
      count: how many captions to write.

    Returns:
      (sentence of at most MAX_LENGTH characters, attribute → value that it names) for each.
    """
    found = []
    covered = [set() for _ in range(count)]
    for position, name in enumerate(rng.permutation(CAPTION_ATTRIBUTES)):
        covered[position % count].add(str(name))
    for names in covered:
        wanted = rng.choice(list(_COLOUR_COUNTS), p=list(_COLOUR_COUNTS.values()))
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


def _alternatives(words: Iterable[str]) -> str:
    """Returns a regular expression for any of the words, the longest first."""
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


def _lookup(phrases: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Returns word → value for a table value → words."""
    return {word: value for value, words in phrases.items() for word in words}


_COLOUR_OF = {colour: colour for colour in (*COLOURS, *BARE_PART_COLOURS, *EYE_COLOURS)}
_COLOUR_OF["gray"] = "grey"
_PART_OF = {
    word: part for part, words in (*PART_NAMES.items(), *HYPHENED.items()) for word in words
}
_COLOUR, _PART = f"(?P<colour>{_alternatives(_COLOUR_OF)})", f"(?P<part>{_alternatives(_PART_OF)})"
_COLOURED = (
    re.compile(rf"\b{_COLOUR}[ -]{_PART}\b"),
    re.compile(rf"\b{_PART} (?:is|are) {_COLOUR}\b"),
)
_WHOLE = re.compile(rf"\b{_COLOUR} bird\b")
_PHRASES = {
    "size": _lookup(SIZE_WORDS),
    "pattern": _lookup(PATTERN_NOUNS)
    | {
        phrase.removeprefix("a "): value
        for value, words in PATTERN_NOUNS.items()
        for phrase in words
    },
    "pose": _lookup(POSE_PHRASES),
    "background": _lookup(PLACE_PHRASES),
}
_PATTERNS = {name: re.compile(rf"\b({_alternatives(words)})\b") for name, words in _PHRASES.items()}
_BEAK = re.compile(rf"\b({_alternatives(_lookup(BEAK_WORDS))}) (?:{_COLOUR} )?(?:beak|bill)\b")
_TAIL = re.compile(rf"\b({_alternatives(_lookup(TAIL_WORDS))}) tail\b")


def attributes_named(text: str) -> Named:
    """Returns the attributes that a caption names, attribute → value: the inverse of `caption`.

    "A red bird" names crown, back and belly. Unknown words are ignored, so this also reads
    captions written by people, as far as they use this vocabulary.
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
    for name, pattern, words in (("beak_shape", _BEAK, BEAK_WORDS), ("tail", _TAIL, TAIL_WORDS)):
        match = pattern.search(text)
        if match:
            named[name] = _lookup(words)[match[1]]
    return named
