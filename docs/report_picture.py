"""Takes a picture of the top of a run's report: `python docs/report_picture.py RUN docs/report.png`."""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": 1000, "height": 600})
    page.goto((Path(sys.argv[1]) / "report.html").absolute().as_uri())
    page.wait_for_selector("html[data-drawn]", state="attached", timeout=120_000)
    network = page.locator("section").first.bounding_box()
    assert network is not None
    top = {"x": 0, "y": 0, "width": 1000, "height": network["y"] + network["height"] + 16}
    page.screenshot(path=sys.argv[2], clip=top, full_page=True)
    browser.close()
