from .checkpoints import load_checkpoint as load_checkpoint
from .checkpoints import save_checkpoint as save_checkpoint
from .curves import Epoch as Epoch
from .draws import Draws as Draws
from .provenance import processor as processor
