#!/usr/bin/env python3
"""Opens pages of echogrid in headless Chromium and looks for faults: `make test-page`, or studies/page.py PAGE.html...

A page fails where its script did not run or wrote to the console (an error, a refusal of the content security policy), where zoom or slider
do nothing, where it asks for anything outside itself, is wider than its window, or exceeds 5 MB. Screenshots at 1280 and 390 pixels, in light and dark, lie
beside each page. Only the Python standard library is used."""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

LIMIT = 5_000_000


def browser():
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if path := shutil.which(name):
            return path
    sys.exit("no Chromium found: apt-get install -y chromium")


def open_page(chrome, url, size, *more):
    """What a page's document became, and what the browser said of it."""
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking", "--no-first-run",
                 "--enable-logging=stderr", "--v=0", f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}",
                 "--virtual-time-budget=4000"]
        done = subprocess.run([chrome, *flags, *more, url], capture_output=True, text=True, timeout=180)
    # What the page says, not what the browser lacks in a container.
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, said


def faults(chrome, page):
    text = page.read_text(encoding="utf-8")
    found = []
    if len(text.encode()) > LIMIT:
        found.append(f"{len(text.encode())} bytes, more than {LIMIT}")
    if outside := re.findall(r"""(?:src|href|action)=["']?(?!data:|#)([^"'\s>]+)""", text):
        found.append(f"asks for something outside itself: {outside[:3]}")
    document, said = open_page(chrome, page.resolve().as_uri(), (1280, 900), "--dump-dom")
    found += said
    if "<script" in text and 'data-script="ran"' not in document:
        found.append("its script did not run")
    # A frame as narrow as a telephone: Chromium's own windows have a least width. The frame's script measures the page and uses its tools.
    told, _ = framed(chrome, page, (390, 800), MEASURE, "--dump-dom")
    value = lambda name: (re.search(f'data-{name}="([^"]*)"', told) or [None, None])[1]
    if value("width") is None:
        found.append("could not be measured at 390 px")
    elif int(value("width")) > 390:
        found.append(f"{value('width')} px wide in a window of 390: {value('wide')}")
    found += [f"{what} does not work" for what in ("zoom", "slider", "keys") if value(what) == "no"]
    return found


MEASURE = """
const root = page.documentElement, told = document.body.dataset, svg = page.querySelector('.stage svg');
told.width = root.scrollWidth;
told.wide = [...page.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > 391 && !e.closest('.scroll,svg'))
  .slice(0, 3).map((e) => e.tagName + '.' + e.className).join(' ');
if (svg) {
  const before = svg.getAttribute('viewBox');
  page.querySelector('[data-zoom=in]').click();
  const zoomed = svg.getAttribute('viewBox');
  told.zoom = zoomed !== before ? 'yes' : 'no';
  page.querySelector('.stage').dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight' }));
  told.keys = svg.getAttribute('viewBox') !== zoomed ? 'yes' : 'no';
  const slider = page.querySelector('.opacity');
  if (slider) {
    slider.value = 10;
    slider.dispatchEvent(new Event('input'));
    told.slider = getComputedStyle(page.querySelector('.sheets')).opacity === '0.1' ? 'yes' : 'no';
  }
}
"""

ZOOM = """page.querySelector('[data-box]')?.click();"""


def framed(chrome, page, size, script, *more):
    """The same of a page in a frame of some size, after a script that knows its document as `page`."""
    with tempfile.TemporaryDirectory() as folder:
        outer = pathlib.Path(folder) / "frame.html"
        outer.write_text(f"""<body style="margin:0"><iframe src="{page.resolve().as_uri()}" style="width:{size[0]}px;height:{size[1]}px;border:0"></iframe>
<script>onload = () => setTimeout(() => {{ const page = document.querySelector('iframe').contentDocument; {script} }}, 300)</script>""")
        return open_page(chrome, outer.as_uri(), (max(size[0], 500), size[1]), "--allow-file-access-from-files", *more)


def screenshots(chrome, page):
    shots = {"wide": (1280, 2400, ""), "narrow": (390, 3600, ""), "zoomed": (1280, 1500, ZOOM), "zoomed-narrow": (390, 900, ZOOM)}
    for name, (width, height, script) in shots.items():
        for look, setting in (("light", 1), ("dark", 0)):
            target = page.with_name(f"{page.stem}-{name}-{look}.png")
            framed(chrome, page, (width, height), script, f"--screenshot={target}", f"--blink-settings=preferredColorScheme={setting}")


def main():
    pages = [pathlib.Path(p) for p in sys.argv[1:]]
    if not pages:
        sys.exit(__doc__)
    chrome, bad = browser(), 0
    for page in pages:
        found = faults(chrome, page)
        screenshots(chrome, page)
        bad += bool(found)
        print(f"{page}: {'; '.join(found) if found else 'sound'}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
