#!/usr/bin/env python3
"""Opens pages of echogrid in headless Chromium and looks for faults: `make test-page`, or studies/page.py PAGE.html...

A page fails where its script did not run or wrote to the console (an error, a refusal of the content security policy), where it asks for
anything outside itself, where it is wider than its window, or exceeds 5 MB. Screenshots at 1280 and 390 pixels, in light and dark, lie
beside each page. Only the Python standard library is used."""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

LIMIT = 5_000_000
WIDTHS = {"wide": (1280, 2400), "narrow": (390, 3600)}


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
    # A frame as narrow as a telephone: Chromium's own windows have a least width. The frame's script says how wide the page is in it.
    with tempfile.TemporaryDirectory() as folder:
        outer = pathlib.Path(folder) / "frame.html"
        outer.write_text(f"""<iframe src="{page.resolve().as_uri()}" style="width:390px;height:800px;border:0"></iframe>
<script>onload = () => setTimeout(() => {{ const d = document.querySelector('iframe').contentDocument.documentElement;
document.body.dataset.width = d.scrollWidth; document.body.dataset.wide =
[...d.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > 391 && !e.closest('.scroll,svg')).slice(0, 3).map((e) => e.tagName + '.' + e.className).join(' '); }}, 500)</script>""")
        document, _ = open_page(chrome, outer.as_uri(), (800, 900), "--allow-file-access-from-files", "--dump-dom")
        width = re.search(r'data-width="(\d+)"', document)
        if not width:
            found.append("could not be measured at 390 px")
        elif int(width[1]) > 390:
            found.append(f"{width[1]} px wide in a window of 390: {re.search(r'data-wide=.([^>]*)', document)[1]}")
    return found


def screenshots(chrome, page):
    for name, size in WIDTHS.items():
        for look in ("light", "dark"):
            target = page.with_name(f"{page.stem}-{name}-{look}.png")
            dark = ["--blink-settings=preferredColorScheme=0"] if look == "dark" else ["--blink-settings=preferredColorScheme=1"]
            if name == "wide":
                open_page(chrome, page.resolve().as_uri(), size, f"--screenshot={target}", *dark)
                continue
            with tempfile.TemporaryDirectory() as folder:
                outer = pathlib.Path(folder) / "frame.html"
                outer.write_text(f'<body style="margin:0"><iframe src="{page.resolve().as_uri()}" style="width:{size[0]}px;height:{size[1]}px;border:0"></iframe>')
                open_page(chrome, outer.as_uri(), (500, size[1]), f"--screenshot={target}", *dark)


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
