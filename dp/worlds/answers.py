"""What a planted backbone answers to a text."""

from torch import Tensor

from dp.backbones.seq2seq import Seq2Seq
from dp.numerics.sequence import Sequence
from dp.worlds.texts import Texts


def answers(backbone: Seq2Seq, words: Tensor, embeds: Tensor, texts: Texts) -> Tensor:
    """Scores [B, 2] of no and yes for texts whose tokens are embedded as `embeds` [B, T, H]; words: [2], their ids."""
    mask = (texts.ids != 0).long()
    state = backbone.state(Sequence(embeds, mask, mask), "verbalizer")
    return backbone.word_scores(state, words.expand(len(mask), -1))
