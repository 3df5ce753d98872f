"""The page: a sentence in, pictures out, by Gradio."""

import datetime
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio
import numpy as np
from PIL import Image

from stackgan_jax import sample
from stackgan_jax.data import images
from stackgan_jax.pretrained.model import Model
from stackgan_jax.pretrained.pictures import provenance
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.web.batching import Batcher

MOST_LETTERS = 300  # of a sentence
MOST_PICTURES = 8  # of a request
MOST_WAITING = 64  # requests; more are refused
AT_ONCE = 16  # requests that may wait for the same call of the networks
LARGEST_SEED = 2**31 - MOST_PICTURES - 1
EXAMPLES = 6
KEPT = 3600  # seconds for which the server keeps a picture that it has shown

# Four pictures side by side where there is room, two on a phone.
STYLE = """@media (max-width: 640px) {
    .pictures .grid-container { grid-template-columns: repeat(2, 1fr) !important; }
}"""

# (picture, its caption) of each stage, as a Gallery takes them.
Shown = list[tuple[Image.Image, str]]


class Page:
    """Answers the page's requests.

    Args:
        model: draws; it must have a text encoder.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._batcher = Batcher(model.sampler)

    def pictures(self, sentence: str, count: int, seed: int, truncation: float) -> Iterator[Shown]:
        """Draws `count` pictures of a sentence, with the seeds `seed`, `seed` + 1 and so on.

        Yields:
            The pictures of each stage.

        Raises:
            UserError: an argument is out of range, or the model can't read the sentence.
        """
        count, seed = _whole_numbers(count, 1, seed, truncation)
        seeds = range(seed, seed + count)
        embeddings = np.repeat(self._embedded(sentence), len(seeds), axis=0)
        noise = self.model.sampler.noise_of(seeds, truncation)
        names = [str(seed) for seed in seeds]
        yield from self._shown(embeddings, noise, sentence, names, truncation)

    def way(
        self, first: str, last: str, count: int, seed: int, truncation: float
    ) -> Iterator[Shown]:
        """Draws `count` pictures on the way from one sentence to another, all with one noise.

        Yields:
            The pictures of each stage.

        Raises:
            UserError: as `pictures`.
        """
        count, seed = _whole_numbers(count, 2, seed, truncation)
        ends = self._embedded(first), self._embedded(last)
        between = sample.way(self.model.sampler, *ends, count, seed, truncation)
        names = [f"{seed}, picture {i + 1} of {count} on the way" for i in range(count)]
        yield from self._shown(*between, f"{first} → {last}", names, truncation)

    def _embedded(self, sentence: str) -> np.ndarray:
        if not sentence.strip():
            raise UserError("Write a sentence first.")
        if len(sentence) > MOST_LETTERS:
            raise UserError(
                f"The sentence has {len(sentence):,} letters; {MOST_LETTERS} are the most."
            )
        return self.model.embed(sentence)

    def _shown(
        self,
        embeddings: np.ndarray,
        noise: Any,
        sentence: str,
        seeds: Sequence[str],
        truncation: float,
    ) -> Iterator[Shown]:
        """Pictures with captions; the recipe of each is written into its file by Gradio."""
        for arrays in self._batcher.draw(embeddings, noise).values():
            shown = []
            for array, seed in zip(images.to_uint8(arrays), seeds, strict=True):
                picture = Image.fromarray(array)
                # With the time every file is new: Gradio would write files of the same content
                # once more while another visitor is reading them.
                drawn = {"drawn": datetime.datetime.now(datetime.UTC).isoformat()}
                picture.info = drawn | provenance(self.model.sampler, sentence, seed, truncation)
                shown.append((picture, f"seed {seed}"))
            yield shown

    def blocks(self) -> gradio.Blocks:
        """The page's parts and what they do."""
        captions = self.model.captions[:EXAMPLES] or ("",)
        with gradio.Blocks(title="StackGAN", delete_cache=(KEPT, KEPT)) as page:
            gradio.Markdown(f"# StackGAN\n{self._about()}")
            with gradio.Tab("A sentence"):
                sentence = _sentence("Sentence", captions[0])
                self._drawing("draw", self.pictures, [sentence], least=1, usual=4)
                gradio.Examples([[each] for each in captions], [sentence])
            with gradio.Tab("From one sentence to another"):
                first = _sentence("First sentence", captions[0])
                last = _sentence("Last sentence", captions[-1])
                self._drawing("interpolate", self.way, [first, last], least=2, usual=MOST_PICTURES)
        page.queue(max_size=MOST_WAITING, default_concurrency_limit=AT_ONCE)
        return page

    def _drawing(
        self,
        name: str,
        answer: Callable[..., Iterator[Shown]],
        sentences: Sequence[gradio.Textbox],
        least: int,
        usual: int,
    ) -> None:
        """The part of a tab below its sentences: numbers, the button, and what it draws.

        Args:
            name: of the endpoint for programs.
            answer: draws.
            sentences: its first arguments.
            least: of the pictures.
            usual: number of pictures.
        """
        with gradio.Row():
            numbers = [
                gradio.Slider(least, MOST_PICTURES, usual, step=1, label="Pictures"),
                gradio.Number(0, label="Seed", precision=0, minimum=0),
                gradio.Slider(
                    *(0, 1, 0),
                    step=0.05,
                    label="Truncation",
                    info="Less is more typical; 0 is for none.",
                ),
            ]
        button = gradio.Button("Draw", variant="primary")
        galleries = self._galleries()
        inputs = [*sentences, *numbers]
        button.click(_answered(answer), inputs, galleries, api_name=name)
        sentences[-1].submit(_answered(answer), inputs, galleries, api_name=None)

    def _about(self) -> str:
        sizes = " → ".join(f"{size}×{size}" for size in self.model.sizes)
        return (
            f"Pictures of sentences by {self.model.configs[-1].name}, {sizes} pixels, trained for "
            f"{self.model.sampler.step:,} steps. Another seed is another picture of the same "
            "sentence. Each picture's file holds the sentence and the seed that it was drawn from."
        )

    def _galleries(self) -> list[gradio.Gallery]:
        """One for each stage, beside each other where there is room."""
        with gradio.Row():
            return [
                gradio.Gallery(
                    label=f"Stage {number}: {size}×{size}",
                    columns=4,
                    height="auto",
                    elem_classes="pictures",
                    buttons=["download", "download_all", "fullscreen"],
                    format="png",
                    interactive=False,
                    object_fit="contain",
                )
                for number, size in enumerate(self.model.sizes, start=1)
            ]


def _answered(answer: Callable[..., Iterator[Shown]]) -> Callable[..., Any]:
    """`answer`, whose errors the page shows as sentences; a single gallery takes no list of one."""

    @functools.wraps(answer)
    def said(*inputs: Any) -> Any:
        try:
            galleries = list(answer(*inputs))
        except UserError as error:
            raise gradio.Error(str(error), print_exception=False) from error
        return galleries if len(galleries) > 1 else galleries[0]

    return said


def _sentence(label: str, value: str) -> gradio.Textbox:
    return gradio.Textbox(
        value, label=label, placeholder="a small red bird with black wings", max_length=MOST_LETTERS
    )


def _whole_numbers(count: Any, least: int, seed: Any, truncation: Any) -> tuple[int, int]:
    """The count and the seed; raises UserError unless all three are in range."""
    ranges = {
        "The number of pictures": (count, 1, least, MOST_PICTURES),
        "The seed": (seed, 1, 0, LARGEST_SEED),
        "The truncation": (truncation, 0, 0, 1),
    }
    for what, (value, step, lowest, highest) in ranges.items():
        # Programs may send anything.
        numeric = isinstance(value, int | float) and lowest <= value <= highest
        if not numeric or (step and value % step):
            whole = "a whole number " if step else ""
            raise UserError(f"{what} is {value!r}; give {whole}from {lowest:,} to {highest:,}.")
    return int(count), int(seed)
