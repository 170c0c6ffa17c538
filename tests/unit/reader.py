"""A reader of reports: opens a page in a real browser, with no network, and says what is there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"  # Debian's
LIMIT_MS = 120_000  # a machine may be busy

_DRAWN = """() => [...document.querySelectorAll("figure")].map((figure) => {
  const plot = figure.querySelector(".plot");
  const traces = JSON.parse(figure.querySelector("script").text).data;
  const marks = [...plot.querySelectorAll(".scatterlayer path, .barlayer path, .heatmaplayer image, .scatterlayer text")];
  return {
    caption: figure.querySelector("figcaption").textContent,
    traces: traces.length,
    drawn: (plot._fullData || []).length,
    marks: marks.filter((mark) => mark.getBoundingClientRect().width + mark.getBoundingClientRect().height > 0).length,
    width: plot.getBoundingClientRect().width,
    svg: Math.max(0, ...[...plot.querySelectorAll("svg.main-svg")].map((svg) => svg.getBoundingClientRect().width)),
  };
})"""

# WCAG 2's contrast of every text with what it stands on
_CONTRAST = """() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const shown = (element) => element.getClientRects().length > 0 && element.textContent.trim() !== "";
  const texts = [
    ...document.querySelectorAll("h1, h2, p, dt, dd, small, td, th, caption, figcaption, summary, li"),
    ...document.querySelectorAll(".plot text:not(.bartext)"),
  ];
  return texts.filter(shown).map((element) => {
    const style = getComputedStyle(element);
    const [a, b] = [light(element.closest("svg") ? style.fill : style.color), light(ground(element))].sort((x, y) => x - y);
    return [element.textContent.trim(), (b + 0.05) / (a + 0.05)];
  });
}"""


class Reader:
    """An open page; `complaints` are errors of its scripts, `asked` what it asked the network for."""

    def __init__(self, page: Page) -> None:
        self.page, self.complaints, self.asked = page, list[str](), list[str]()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("request", lambda request: self.asked.append(request.url))

    def open(self, file: Path) -> None:
        self.page.goto(file.as_uri(), timeout=LIMIT_MS)
        self.page.wait_for_selector("html[data-drawn]", state="attached", timeout=LIMIT_MS)
        self.asked = [url for url in self.asked if url != file.as_uri()]

    def figures(self) -> list[dict[str, Any]]:
        """Of each figure: caption, its traces and how many were drawn, how many marks can be seen, its width and the picture's."""
        found: list[dict[str, Any]] = self.page.evaluate(_DRAWN)
        return found

    def contrasts(self) -> list[tuple[str, float]]:
        """Every text that can be seen, and its contrast with its ground."""
        return [(text, contrast) for text, contrast in self.page.evaluate(_CONTRAST)]

    def tiles(self) -> dict[str, tuple[str, str]]:
        """The figures that matter: name -> value, note."""
        script = """() => [...document.querySelectorAll(".tiles > div")].map((tile) => [
          tile.querySelector("dt").textContent,
          tile.querySelector("dd").firstChild.textContent,
          tile.querySelector("small").textContent])"""
        return {name: (value, note) for name, value, note in self.page.evaluate(script)}

    def table(self, caption: str) -> list[list[str]]:
        """The rows of the table whose caption begins so."""
        script = """(caption) => [...document.querySelectorAll("table")]
          .filter((table) => table.caption.textContent.startsWith(caption))
          .flatMap((table) => [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent)))"""
        found: list[list[str]] = self.page.evaluate(script, caption)
        return found

    def to_paper(self) -> None:
        """As it is when it is printed, on A4."""
        self.page.set_viewport_size({"width": 702, "height": 1000})
        self.page.emulate_media(media="print")
        self.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        self.page.wait_for_timeout(1000)


@contextmanager
def browser() -> Iterator[Browser]:
    """One at a time: its event loop is this thread's."""
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield made
        finally:
            made.close()


@contextmanager
def reading(
    browser: Browser, file: Path, scheme: Literal["light", "dark"] = "light", width: int = 1280
) -> Iterator[Reader]:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    try:
        reader = Reader(page)
        reader.open(file)
        yield reader
    finally:
        page.close()
