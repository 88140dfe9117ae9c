"""What each family is: its file's class. `names.py` has the same names for those who need no more."""

from dp.backbones.backbone import Backbone
from dp.backbones.causal import Causal
from dp.backbones.encoder import Encoder
from dp.backbones.names import Family
from dp.backbones.seq2seq import Seq2Seq

FAMILIES: dict[Family, type[Backbone]] = {"seq2seq": Seq2Seq, "causal": Causal, "encoder": Encoder}
