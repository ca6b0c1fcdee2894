"""The report of a real run in a real browser: nothing asked of the network, nothing complained of, nothing too wide."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

# By whatever name a distribution knows it.
BROWSER = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here: the page cannot be opened")

TIMEOUT_S = 120
WIDTHS = (390, 1280)
# The policy of the page allows no script but its own; the probe goes into a copy without it.
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
PROBE = """<script>
addEventListener("load", () => {
  const root = document.documentElement, wide = [];
  for (const node of document.querySelectorAll("main *")) {
    if (node.parentElement.closest(".scroll, .zoom")) continue;
    if (node.getBoundingClientRect().right > root.clientWidth + 1) wide.push(node.outerHTML.slice(0, 90));
  }
  const drawn = [...document.querySelectorAll("figure svg, figure img")].map((figure) => figure.getBoundingClientRect());
  const button = document.querySelector("nav button");
  parent.postMessage({
    width: root.clientWidth, scroll: root.scrollWidth, wide, figures: drawn.length,
    empty: drawn.filter((box) => box.width < 300 || box.height < 60).length,
    menu: document.getElementById("menu").checkVisibility(), button: button.checkVisibility(),
    current: document.querySelectorAll("nav [aria-current]").length,
    requests: performance.getEntriesByType("resource").map((r) => r.name).filter((name) => !name.startsWith("data:")),
  }, "*");
});
</script></body>"""
# A window is never narrower than 500 pixels; a frame can be.
FRAMES = """<!DOCTYPE html><title>frames</title><script>
const found = [];
addEventListener("message", ({ data }) => {
  found.push(data);
  document.title = JSON.stringify(found.sort((a, b) => a.width - b.width));
});
</script>%s"""
FRAME = '<iframe src="probe.html" style="width:%dpx;height:900px;border:0"></iframe>'


def open_page(page: Path, profile: Path) -> subprocess.CompletedProcess[str]:
    """Open a page without a window; its document goes to stdout, what the console says to stderr."""
    assert BROWSER is not None
    command = (
        BROWSER,
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
        *("--enable-logging=stderr", f"--user-data-dir={profile}", "--window-size=1280,900"),
        *("--virtual-time-budget=4000", "--dump-dom", page.as_uri()),
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True, env=environment)


@pytest.fixture(scope="module")
def page(tiny_run: Path) -> Path:
    return tiny_run / "report" / "index.html"


@pytest.fixture(scope="module")
def measured(page: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the page is like in a narrow and in a wide window."""
    folder = tmp_path_factory.mktemp("browser")
    text = POLICY.sub("", page.read_text(encoding="utf-8")).replace("</body>", PROBE)
    (folder / "probe.html").write_text(text, encoding="utf-8")
    frames = folder / "frames.html"
    frames.write_text(FRAMES % "".join(FRAME % width for width in WIDTHS), encoding="utf-8")
    dumped = open_page(frames, folder / "profile").stdout
    (title,) = re.findall(r"<title>(.*?)</title>", dumped, flags=re.DOTALL)
    found: list[dict[str, Any]] = json.loads(html.unescape(title))
    assert [f["width"] for f in found] == list(WIDTHS)
    return found


@pytest.mark.parametrize("place", range(len(WIDTHS)))
def test_nothing_is_wider_than_the_window(measured: list[dict[str, Any]], place: int) -> None:
    found = measured[place]
    assert found["wide"] == []
    assert found["scroll"] == found["width"]


@pytest.mark.parametrize("place", range(len(WIDTHS)))
def test_every_figure_is_drawn_and_nothing_is_fetched(measured: list[dict[str, Any]], place: int, page: Path) -> None:
    found = measured[place]
    assert found["figures"] == page.read_text(encoding="utf-8").count("<figure ") > 5
    assert found["empty"] == 0
    assert found["requests"] == []


def test_the_contents_are_behind_a_button_where_there_is_no_room(measured: list[dict[str, Any]]) -> None:
    narrow, wide = measured
    assert (narrow["button"], narrow["menu"]) == (True, False)
    assert (wide["button"], wide["menu"]) == (False, True)


def test_the_console_has_nothing_to_say(page: Path, tmp_path: Path) -> None:
    opened = open_page(page, tmp_path / "profile")
    assert [line for line in opened.stderr.splitlines() if "CONSOLE" in line] == []
    # The script of the page is the one its policy allows: it has marked the part in view.
    assert opened.stdout.count('aria-current="true"') == 1


def test_the_console_would_be_heard(tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text("<!DOCTYPE html><title>x</title><script>nowhere()</script>", encoding="utf-8")
    assert "CONSOLE" in open_page(broken, tmp_path / "profile").stderr
