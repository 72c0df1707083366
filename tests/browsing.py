"""A page of the explorer in a real browser, as a person uses it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

CLEAN, PGD, AUTOATTACK = (f"digits/digits/{name}" for name in ("clean_acc", "pgd_acc@0.1", "autoattack_acc@0.1"))


class Explorer:
    """A page in the browser, and what it said and asked for that it should not have."""

    def __init__(self, browser: Any, path: Path, address: str = "", **options: Any) -> None:
        size = {"width": 1440, "height": 900}
        self.context = browser.new_context(**{"offline": True, "viewport": size, "accept_downloads": True, **options})
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.faults: list[str] = []
        self.page.on("console", lambda message: self.faults.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", self._requested)
        self.page.goto(path.as_uri() + address)
        self.page.wait_for_selector("body:not(.loading)")

    def _requested(self, request: Any) -> None:
        if not request.url.startswith(("file:", "blob:", "data:")):
            self.faults.append(request.url)

    def show(self, **state: Any) -> None:
        """Show the view that an address names."""
        wanted = "#" + "&".join(f"{key}={value}" for key, value in state.items())
        self.page.evaluate(
            """hash => new Promise(done => {
                if (decodeURIComponent(location.hash || '#') === hash) return done();
                addEventListener('hashchange', () => setTimeout(done), { once: true });
                location.hash = hash;
            })""",
            wanted,
        )

    def state(self) -> dict[str, str]:
        """Return what the address says."""
        return dict(parse_qsl(self.page.evaluate("location.hash.slice(1)")))

    def cell(self) -> int:
        return int(self.page.inner_text("#cell-title").removeprefix("Cell "))

    def value(self, column: str = PGD) -> float:
        return float(self.page.get_attribute(f'#values tr[data-metric="{column}"] .value', "data-value") or "nan")

    def position(self, x: float, y: float, xs: Sequence[float], ys: Sequence[float], plot: str = "#plot") -> Any:
        """Return where a point lies on the screen, given the coordinates of all points, of which the axes have all."""
        box = self.page.locator(f"{plot} .u-over").bounding_box()
        (left, right), (bottom, top) = (padded(values) for values in (xs, ys))
        across, up = (x - left) / (right - left), (y - bottom) / (top - bottom)
        return box["x"] + across * box["width"], box["y"] + (1 - up) * box["height"]

    def is_marked(self, position: tuple[float, float], plot: str = "#plot") -> bool:
        """Return whether the ring of the chosen cell is around a position."""
        return bool(
            self.page.evaluate(
                """([plot, x, y]) => {
                    const canvas = document.querySelectorAll(`${plot} canvas.marks`)[1];
                    const box = canvas.getBoundingClientRect();
                    const [left, top] = [x - box.left, y - box.top].map(Math.round);
                    return canvas.getContext('2d').getImageData(left, top, 1, 1).data[3] > 0;
                }""",
                [plot, *position],
            )
        )


def padded(values: Sequence[float]) -> tuple[float, float]:
    room = (max(values) - min(values)) * 0.05
    return min(values) - room, max(values) + room
