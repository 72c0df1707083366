"""Adversarial attacks, one file each; their settings are `nasbench_robust.metrics.Attack`, whose table lists them.

All have one signature, `AttackFunction`: a network that maps images in [0, 1] to logits, images, labels, settings, a
generator for what they draw, and a batch size. The network is attacked in eval mode, and comes back as it was.
The parts of AutoAttack and AutoAttack itself want all images at once and make their batches themselves; see `passes`.
"""

from .._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)
