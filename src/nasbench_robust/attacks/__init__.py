"""Adversarial attacks, one file each; their settings are `nasbench_robust.metrics.Attack`.

An attack takes a network that maps images in [0, 1] to logits, images, labels, its settings and, where it draws, a
generator. It leaves the network's mode alone: put it into eval mode before. The parts of AutoAttack and AutoAttack
itself take all images at once and a batch size; see `passes`.
"""

from .._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)
