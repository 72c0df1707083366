"""The errors of nasbench-robust.

Every error carries the objects it is about as attributes and renders one sentence from them that says what was given,
what was expected and, where there is one, the nearest valid value. All of them derive from `NasbenchRobustError`, and
each also derives from the built-in class that a caller would expect (`ValueError`, `LookupError`, `OSError`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def nearest(given: object, choices: Iterable[str]) -> str | None:
    """Return the member of `choices` that is spelt most like `given`, or None where nothing is close."""
    import difflib

    if not isinstance(given, str):
        return None
    by_folded = {choice.casefold(): choice for choice in choices}
    folded = given.casefold()
    found = difflib.get_close_matches(folded, by_folded, n=1, cutoff=0.5)
    if found:
        return by_folded[found[0]]
    # 'pgd' against 'pgd_acc@8/255' is too short for a similarity ratio, yet plainly a prefix.
    started = [choice for key, choice in by_folded.items() if folded and key.startswith(folded)]
    return min(started, key=len) if started else None


def shorten(given: object, limit: int = 120) -> str:
    """Return `repr(given)`, cut in the middle where it is longer than `limit` characters."""
    try:
        text = repr(given)
    except Exception as error:  # a foreign object's broken repr must not hide the message
        text = f"<{type(given).__name__} whose repr fails: {type(error).__name__}>"
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]} ... {text[-limit // 3 :]}"


class NasbenchRobustError(Exception):
    """Base class: catch this to catch everything that this package raises on purpose.

    Errors travel between processes: pickled and copied ones have the same class, sentence and attributes. An attribute
    that cannot be pickled, a lambda that somebody passed say, arrives as its text.
    """

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # names of files, say, may hold a line break

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, {name: _portable(value) for name, value in vars(self).items()})


def _restore(kind: type[NasbenchRobustError], args: tuple[Any, ...], attributes: dict[str, Any]) -> NasbenchRobustError:
    """Make an error again from its sentence and its attributes, without its constructor, which takes other things."""
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(attributes)
    return error


def _portable(value: Any) -> Any:
    """Return a value, or its text if it cannot be pickled."""
    import pickle

    try:
        pickle.dumps(value)
    except Exception:  # foreign objects raise what they like
        return shorten(value)
    return value


class InvalidCellError(NasbenchRobustError, ValueError):
    """A value that names no cell of the search space.

    Attributes
    ----------
    given : object
        What was passed.
    problem : str
        What is wrong with it, naming the edge where an edge is to blame.
    """

    def __init__(self, given: object, problem: str) -> None:
        self.given = given
        self.problem = problem
        super().__init__(f"{problem} (given {shorten(given)})")


class InvalidValueError(NasbenchRobustError, ValueError):
    """An argument outside its range or of the wrong type.

    Attributes
    ----------
    name : str
        The argument's name.
    given : object
        What was passed.
    expected : str
        What would have been accepted.
    hint : str or None
        The nearest valid value, where there is one.
    """

    def __init__(self, name: str, given: object, expected: str, hint: str | None = None) -> None:
        self.name, self.given, self.expected, self.hint = name, given, expected, hint
        suggestion = f"; did you mean {hint}?" if hint else ""
        what = f"no {name} is given" if given is None else f"{name} is {shorten(given)}"
        super().__init__(f"{what}, expected {expected}{suggestion}")


class UnknownNameError(NasbenchRobustError, ValueError):
    """A name (data set, metric, encoding, release, ...) that is not known.

    Attributes
    ----------
    kind : str
        What was being named, for example ``"metric"``.
    given : object
        The unknown name.
    choices : tuple of str
        The names that are known.
    suggestion : str or None
        The nearest of them.
    """

    def __init__(self, kind: str, given: object, choices: Sequence[str], suggestion: str | None = None) -> None:
        self.kind, self.given, self.choices = kind, given, tuple(choices)
        self.suggestion = suggestion or nearest(given, choices)
        ending = f"; did you mean {self.suggestion!r}?" if self.suggestion else ""
        known = f" (known: {', '.join(self.choices)})" if self.choices else ""
        super().__init__(f"unknown {kind} {shorten(given)}{ending}{known}")


class MissingResultError(NasbenchRobustError, LookupError):
    """A well-formed question that this release holds no answer to: nothing is ever imputed.

    Attributes
    ----------
    what : str
        What is missing.
    available : tuple
        What there is instead, for example the seeds that were run.
    hint : str or None
        Where the answer may be found.
    """

    def __init__(
        self, what: str, available: Sequence[object] = (), available_name: str = "available", hint: str | None = None
    ) -> None:
        self.what, self.available, self.hint = what, tuple(available), hint
        listed = f" ({available_name}: {', '.join(map(str, self.available))})" if self.available else ""
        super().__init__(f"{what}{listed}" + (f"; {hint}" if hint else ""))


class BudgetSpentError(NasbenchRobustError, RuntimeError):
    """A query that a search can no longer pay for.

    Attributes
    ----------
    needed : str
        What the query costs.
    left : str
        What is left of the budget.
    """

    def __init__(self, needed: str, left: str) -> None:
        self.needed, self.left = needed, left
        super().__init__(f"the query costs {needed} and the budget has {left} left")


class UncomputableScoreError(NasbenchRobustError, ArithmeticError):
    """A training-free score that this network, or these images, do not have.

    Attributes
    ----------
    name : str
        The score.
    reason : str
        Why there is no value.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(f"{name} cannot be computed: {reason}")


class MissingDataError(NasbenchRobustError, FileNotFoundError):
    """A file or a release that is needed and not on this machine.

    Attributes
    ----------
    what : str
        What is missing.
    remedy : str
        What to do about it.
    """

    def __init__(self, what: str, remedy: str) -> None:
        self.what, self.remedy = what, remedy
        super().__init__(f"{what}; {remedy}")


class UnreadableError(NasbenchRobustError, OSError):
    """A file cannot be read now: permission, a stale handle, too many open files, no memory. It may be sound.

    Attributes
    ----------
    path : str
        The file.
    problem : str
        What the system says.
    """

    def __init__(self, path: object, problem: object) -> None:
        self.path = str(path)
        self.problem = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
        super().__init__(f"cannot read {self.path} now ({self.problem}); nothing is lost, try again")
        self.errno = getattr(problem, "errno", None)


class TableError(NasbenchRobustError, ValueError):
    """A Parquet table that cannot be read, or is not one of ours.

    Attributes
    ----------
    path : str
        The file.
    problem : str
        What is wrong with it.
    """

    def __init__(self, path: object, problem: str) -> None:
        self.path, self.problem = str(path), problem
        super().__init__(f"{self.path}: {problem}")


class SourceFormatError(NasbenchRobustError, ValueError):
    """A foreign result file that does not have the format it should have.

    Attributes
    ----------
    path : str
        The file.
    where : str
        The place in it, for example ``"key '17', field 3"``.
    problem : str
        What is wrong there.
    """

    def __init__(self, path: object, where: str, problem: str) -> None:
        self.path, self.where, self.problem = str(path), where, problem
        place = f"{where}: " if where else ""
        super().__init__(f"{self.path}: {place}{problem}")


class DownloadError(NasbenchRobustError, OSError):
    """A download that failed or whose content is not what was promised; nothing was kept.

    Attributes
    ----------
    url : str
        The address.
    problem : str
        What went wrong.
    """

    def __init__(self, url: str, problem: str) -> None:
        self.url, self.problem = url, problem
        super().__init__(f"{url}: {problem}")


class UploadError(NasbenchRobustError, OSError):
    """An upload that the other side did not take.

    Attributes
    ----------
    repository : str
        Where it was to go.
    problem : str
        What went wrong.
    """

    def __init__(self, repository: str, problem: str) -> None:
        self.repository, self.problem = repository, problem
        super().__init__(f"{repository}: {problem}")


class MissingPackageError(NasbenchRobustError, ImportError):
    """An optional package that this call needs and that is not installed.

    Attributes
    ----------
    package : str
        The package that could not be imported.
    extra : str
        The extra of nasbench-robust that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(
            f"the package {package!r} is needed here and not installed; run: pip install {package} "
            f"(in a clone of nasbench-robust, pip install '.[{extra}]' brings all that belongs to it)"
        )


class ConflictError(NasbenchRobustError, ValueError):
    """Two files hold different results for the same run.

    Attributes
    ----------
    first, second : str
        The files.
    key : tuple
        Data set, index and seed.
    columns : tuple of str
        Where they differ.
    """

    def __init__(self, first: object, second: object, key: tuple[Any, ...], columns: Sequence[str]) -> None:
        self.first, self.second, self.key, self.columns = str(first), str(second), key, tuple(columns)
        super().__init__(
            f"different results for {'/'.join(map(str, key))} in {', '.join(columns)}: {first} and {second}; "
            "keep one of the two files"
        )


class RefusedError(NasbenchRobustError, ValueError):
    """A release with errors is not published.

    Attributes
    ----------
    folder : str
        The release.
    findings : tuple of Finding
        What was found, errors and warnings.
    """

    def __init__(self, folder: object, findings: Sequence[Any]) -> None:
        self.folder, self.findings = str(folder), tuple(findings)
        errors = [finding for finding in findings if finding.severity == "error"]
        super().__init__(f"{folder}: {len(errors)} error(s), not published; the first: {errors[0]}")


class SlurmError(NasbenchRobustError):
    """A Slurm command that failed; carries what it said."""


class RunInterruptedError(NasbenchRobustError):
    """A run that was asked to stop; its state is in its checkpoint."""


class TrainingDivergedError(NasbenchRobustError, ArithmeticError):
    """The loss of a training run is no longer finite.

    Attributes
    ----------
    epoch : int
        Epoch in which it happened, from 1.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        super().__init__(f"the training loss is not finite in epoch {epoch}")
