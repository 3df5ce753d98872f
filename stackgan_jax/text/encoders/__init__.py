"""The registry of text encoders: `config.encoder` is one of these names."""

from stackgan_jax.text.encoders.encoder import Encoder
from stackgan_jax.text.encoders.precomputed import PrecomputedEncoder
from stackgan_jax.text.encoders.sentence_transformer import SentenceTransformerEncoder
from stackgan_jax.text.encoders.trained import BagOfWordsEncoder, CharCnnRnnEncoder

__all__ = ["ENCODERS", "CharCnnRnnEncoder", "Encoder"]

ENCODERS: dict[str, type[Encoder]] = {
    kind.name: kind
    for kind in (
        CharCnnRnnEncoder,
        BagOfWordsEncoder,
        SentenceTransformerEncoder,
        PrecomputedEncoder,
    )
}
