"""Which releases there are: names, addresses and hashes. Data only; the room `releases` loads them."""

from __future__ import annotations

from typing import NamedTuple

BUNDLED = "digits"  # the release that is part of the package, and what `load` opens by default
EARLIER: tuple[str, ...] = ("digits-1",)  # versions of it that were bundled before, and still are part of the package


class Release(NamedTuple):
    """A published file that can be downloaded and converted.

    Attributes
    ----------
    name : str
        What `load` is called with.
    url, sha256 : str
        Address of the file, and the hash of its content.
    importer : str
        Key of `importers.IMPORTERS`.
    datasets : tuple of str
        Canonical names of the data sets in it.
    size : int or None
        Bytes of the file, where they are known: a download takes no more.
    """

    name: str
    url: str
    sha256: str
    importer: str
    datasets: tuple[str, ...] = ()
    size: int | None = None

    @property
    def filename(self) -> str:
        """Name of the file."""
        return self.url.rpartition("/")[2]


_NATURAL = ("cifar10", "cifar100", "ImageNet16-120")
_PAGE = "https://tt2408.github.io/nasrobbench201hp/files/"
RELEASES = {
    release.name: release
    for release in (
        Release(
            "nas-robbench-201",
            _PAGE + "NAS-RobBench-201_html.json",
            "b3dc99b96324de07b1dd9f3c39830fe0f82aae7fbd1b20eb0a6885cabd4f2388",
            "page",
            _NATURAL,
            2_580_686,
        ),
        Release(
            "standard-training",
            _PAGE + "standard-training_acc.json",
            "1c8b7dfe4ed375843db5cdad99aa24df99f5aa377780ccdcb259007ab6317ed2",
            "standard",
            _NATURAL,
            807_808,
        ),
    )
}


def release_names() -> tuple[str, ...]:
    """Return the names of all releases that `load` knows."""
    return (BUNDLED, *EARLIER, *RELEASES)


def release_with(dataset: str) -> str | None:
    """Return the name of the first release that has a data set, or None."""
    if dataset == BUNDLED:  # the release is called after its only data set
        return BUNDLED
    return next((release.name for release in RELEASES.values() if dataset in release.datasets), None)
