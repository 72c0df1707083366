"""Everything that decides the outcome of a training run, in one frozen object whose hash names the run. No torch."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from .checks import Check, integer, kind, number
from .datasets import canonical_name, dataset
from .errors import InvalidValueError, SourceFormatError, UnknownNameError
from .files import json_hash, parse_json, read_text
from .metrics import ATTACKS, MOST, Attack, Metric, autoattack, fgsm, pgd, same_eps, stored_fields
from .skeletons import Skeleton

S = TypeVar("S", bound="Settings")


class Settings:
    """What decides a result, in one frozen object that is stored as a dictionary and named by its hash.

    A base of frozen dataclasses. `CHECKS` has a check for every field that has a range.
    """

    CHECKS: ClassVar[Mapping[str, Check]] = {}

    def __post_init__(self) -> None:
        for name, check in self.CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as nested dictionaries and lists of plain values, as they are hashed and stored."""
        plain: dict[str, Any] = json.loads(
            json.dumps(asdict(self, dict_factory=stored_fields), allow_nan=False)  # type: ignore[call-overload]
        )
        return plain

    @classmethod
    def from_dict(cls: type[S], stored: dict[str, Any]) -> S:
        """Rebuild settings from what `to_dict` gave; entries that are missing have their defaults.

        Raises
        ------
        UnknownNameError, InvalidValueError
            If a name is not known or a value is out of range.
        """
        kinds = get_type_hints(cls)
        values = {name: _rebuild(kinds.get(name), name, value) for name, value in dict(stored).items()}
        settings: S = build(cls, "settings", values)
        return settings

    @property
    def hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the settings as sorted JSON."""
        return json_hash(self.to_dict())


def _rebuild(kind: Any, name: str, value: Any) -> Any:
    """Return a field as it was: a dataclass from a dictionary, a tuple from a list."""
    if isinstance(kind, type) and is_dataclass(kind):
        return value if isinstance(value, kind) else build(kind, name, value)
    if get_origin(kind) is tuple and is_dataclass(get_args(kind)[0]):
        if not isinstance(value, (list, tuple)):
            raise InvalidValueError(name, value, f"a list of {get_args(kind)[0].__name__.lower()}s")
        return tuple(_rebuild(get_args(kind)[0], name, entry) for entry in value)
    return tuple(value) if get_origin(kind) is tuple and isinstance(value, list) else value


def check_runnable(name: str, attack: Any) -> None:
    """Raise an error for what is no attack, is not known in its norm, or does not say how many steps it takes."""
    if not isinstance(attack, Attack):
        raise InvalidValueError(name, attack, "an Attack")
    if attack.norm not in ATTACKS[attack.name].functions:
        runnable = [f"{norm} {kind}" for kind, row in ATTACKS.items() for norm in row.functions]
        raise UnknownNameError("attack that can be run", f"{attack.norm} {attack.name}", runnable)
    if attack.name in ("fgsm", "pgd"):
        _ = attack.schedule


def check_training_attack(attack: Attack) -> None:
    """Raise an error for an attack that cannot make the images of a training step."""
    check_runnable("attack", attack)
    if ATTACKS[attack.name].pools:
        single = [name for name, row in ATTACKS.items() if not row.pools]
        raise InvalidValueError("attack", attack.name, f"an attack on single batches: {' or '.join(single)}", "pgd")


def check_crop(padding: int, size: int) -> None:
    """Raise an error for a padding by which crops could miss images of `size` pixels along a side."""
    if padding >= size:
        raise InvalidValueError("crop_padding", padding, f"less than {size}, the size of the images", str(size - 1))


def _dataset(_name: str, value: Any) -> str:
    return canonical_name(value)


@dataclass(frozen=True)
class AdversarialSettings(Settings):
    """Adversarial training and evaluation of any network; the defaults are the published protocol on CIFAR-10.

    Source: Wu et al., "Robust NAS under adversarial training", ICLR 2024, section 3 and its code.

    Attributes
    ----------
    dataset : str
        Canonical name of the data set.
    attack : Attack
        PGD or FGSM, which makes the training examples; the network is in eval mode meanwhile.
    epochs, batch_size : int
        Passes over the training split; images of a step (the last, short batch is kept).
    max_lr : float
        Largest learning rate: the peak of the one-cycle schedule, stepped per batch, which also cycles the momentum
        from .95 to .85 and back.
    weight_decay : float
        On all parameters.
    crop_padding : int
        Zero pixels around an image before a random crop of its own size; 0 for none.
    flip : bool
        Random horizontal flips.
    evaluation : tuple of Attack
        Attacks of the final evaluation, beside clean accuracy: all of them on the test split, and all but AutoAttack on
        the validation split where the data set has one. In tables no two may have one name and budget.
    """

    dataset: str = "cifar10"
    attack: Attack = field(default_factory=lambda: pgd(8 / 255, steps=7, step_size=2 / 255))
    epochs: int = 50
    batch_size: int = 256
    max_lr: float = 0.1
    weight_decay: float = 5e-4
    crop_padding: int = 4
    flip: bool = True
    evaluation: tuple[Attack, ...] = (
        fgsm(3 / 255),
        pgd(3 / 255),
        fgsm(8 / 255),
        pgd(8 / 255),
        autoattack(8 / 255, steps=10),
    )

    CHECKS: ClassVar[Mapping[str, Check]] = {
        "dataset": _dataset,
        "epochs": integer(1, MOST),
        "batch_size": integer(2, MOST),
        "crop_padding": integer(0),
        "max_lr": number(),
        "weight_decay": number(),
        "attack": kind(Attack),
        "flip": kind(bool),
        "evaluation": kind(tuple),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        row = dataset(self.dataset)
        check_crop(self.crop_padding, row.image_size)
        check_training_attack(self.attack)
        for attack in self.evaluation:
            check_runnable("an attack of evaluation", attack)
            if attack.targets is not None and attack.targets >= row.classes:
                most = str(row.classes - 1)
                raise InvalidValueError(
                    "targets", attack.targets, f"at most {most}, the wrong classes of {row.name}", most
                )
        if len(set(self.evaluation)) < len(self.evaluation):
            raise InvalidValueError("evaluation", [attack.label for attack in self.evaluation], "every attack once")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What the final evaluation measures, split by split: test first, then validation where there is one."""
        return tuple(metric for split in dataset(self.dataset).held_out for metric in self._metrics_on(split))

    def _metrics_on(self, split: str) -> tuple[Metric, ...]:
        # AutoAttack costs more than all else together; a search that selects on validation images does without it.
        attacks = [attack for attack in self.evaluation if split == "test" or attack.name != "autoattack"]
        return (Metric("clean_acc", split=split), *(Metric.of(attack, split) for attack in attacks))

    @property
    def curve_split(self) -> str:
        """Split of the training curves: validation where the data set has one, else test."""
        return "validation" if "validation" in dataset(self.dataset).held_out else "test"

    @property
    def evaluation_batch(self) -> int:
        """Images that pass through the network at a time when it is measured."""
        return 1000


@dataclass(frozen=True)
class TrainingSettings(AdversarialSettings):
    """Adversarial training and evaluation of one cell; the defaults are the published protocol on CIFAR-10.

    Attributes
    ----------
    skeleton : Skeleton
        The network around the cell.
    """

    skeleton: Skeleton = field(default_factory=Skeleton)

    CHECKS: ClassVar[Mapping[str, Check]] = {**AdversarialSettings.CHECKS, "skeleton": kind(Skeleton)}

    def __post_init__(self) -> None:
        super().__post_init__()
        # Columns of a table go by name and budget alone: of PGD with 20 and with 100 steps only one has a place.
        for one, other in itertools.combinations(self.evaluation, 2):
            if (one.name, one.norm) == (other.name, other.norm) and same_eps(one.eps, other.eps):
                expected = f"attacks of different names or budgets, since a table has one column for {one.label}"
                raise InvalidValueError("evaluation", [attack.label for attack in self.evaluation], expected)


def settings_for(name: str) -> TrainingSettings:
    """Return the settings of the benchmark for a data set: published for natural images, this project's for digits."""
    row = dataset(name)
    changes = dict(row.protocol)
    size = {key: changes.pop(key) for key in ("channels", "cells_per_stage") if key in changes}
    return TrainingSettings(dataset=row.name, skeleton=Skeleton.for_dataset(row.name, **size), **changes)


def read_settings(path: str | os.PathLike[str], base: S) -> S:
    """Read a TOML or JSON file that overrides some of the settings in `base`, those of training or of scores.

    Nested tables (``[skeleton]``, ``[attack]``) are overridden entry by entry; lists (``evaluation``, ``attacks``) are
    replaced as a whole.

    Raises
    ------
    MissingDataError
        If there is no such file.
    SourceFormatError
        If it is not TOML or JSON in UTF-8.
    UnknownNameError, InvalidValueError
        If a name is not known or a value is out of range.
    """
    stored = base.to_dict()
    for name, value in _parse(Path(path), read_text(path)).items():
        if isinstance(value, dict) and isinstance(stored.get(name), dict):
            stored[name].update(value)
        else:
            stored[name] = value
    return base.from_dict(stored)


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        content = parse_json(text, path) if path.suffix == ".json" else _toml().loads(text)
    except SourceFormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise SourceFormatError(path, "", f"not {path.suffix.lstrip('.') or 'toml'}: {error}") from None
    if not isinstance(content, dict):
        raise SourceFormatError(path, "", "expected settings by name")
    return content


def _toml() -> Any:
    try:
        import tomllib
    except ImportError:  # Python 3.10
        raise InvalidValueError("settings", "TOML", "a .json file: reading TOML needs Python 3.11") from None
    return tomllib


def build(kind: type[Any], name: str, values: object) -> Any:
    """Make a dataclass of a dictionary, with an error that names a key that it does not have."""
    known = [entry.name for entry in fields(kind)]
    if not isinstance(values, dict):
        raise InvalidValueError(name, values, f"a table with {', '.join(known)}")
    for key in values:
        if key not in known:
            raise UnknownNameError(f"entry of {name}", key, known)
    try:
        return kind(**values)
    except TypeError as error:
        raise InvalidValueError(name, values, f"a complete table ({error})") from None
