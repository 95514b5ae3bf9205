#!/usr/bin/env python3
"""serve_browser.py RUNS [--try RUN] [--picture P] [--shots DIR] [--launch CONFIG]: `muster serve` in a real browser.

Headless Chromium (Debian's chromium, driven by PyPI's playwright) loads each page at 1280 and 390 pixels, light and dark; a
picture is dropped, the slider moved, the answer taken away; a run is followed while it trains. What a page logs, loads from
elsewhere or lets stick out sideways is a failure.
"""
import argparse
import base64
import json
import pathlib
import shutil
import subprocess
import sys
import time

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLOURS = 64
NO_NAME = """() => [...document.querySelectorAll('a, button, input, select, img, svg[role=img], th, [tabindex]')].filter((e) => {
  if (e.closest('[hidden]') || e.id === 'view' || (e.tagName === 'IMG' && e.hasAttribute('alt'))) return false;
  return !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length || e.title || e.alt);
}).map((e) => e.outerHTML.slice(0, 120))"""
# Text against what is behind it, by WCAG's formula; 4.5 is asked for.
LOW_CONTRAST = """() => {
  const rgba = (text) => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const behind = (e) => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > .9) return c; }
    return rgba(getComputedStyle(document.body).backgroundColor); };
  const low = [];
  for (const e of document.querySelectorAll('main *, header *')) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || e.closest('svg, [hidden], :disabled') || e.className === 'hidden') continue;
    const a = light(rgba(getComputedStyle(e).color)) + .05, b = light(behind(e)) + .05, ratio = Math.max(a, b) / Math.min(a, b);
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${e.outerHTML.slice(0, 90)}`);
  }
  return low;
}"""
DROP = """async ([name, type, text]) => {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, {type}));
  document.getElementById('drop').dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
}"""


class Visit:
    """One browser window: whatever goes wrong in it is a failure."""

    def __init__(self, browser, address, width, scheme):
        self.context = browser.new_context(viewport={'width': width, 'height': 844 if width < 500 else 900}, color_scheme=scheme,
                                           device_scale_factor=1, has_touch=width < 500, accept_downloads=True)
        self.page = self.context.new_page()
        self.address, self.width, self.scheme = address, width, scheme
        self.home = address.split('?')[0]
        self.faults, self.asked = [], []
        self.page.on('console', lambda m: self.faults.append(m.text) if m.type in ('error', 'warning') else None)
        self.page.on('pageerror', lambda e: self.faults.append(str(e)))
        self.page.on('request', self.saw)
        self.page.goto(address)

    def saw(self, request):
        self.asked.append((request.method, request.url))
        if not request.url.startswith((self.home, 'blob:', 'data:')):
            self.faults.append(f'asked elsewhere: {request.url}')

    def go(self, fragment, wait):
        self.page.goto(self.home + fragment)
        self.page.wait_for_selector(wait, timeout=60000)
        self.page.wait_for_timeout(600)
        self.check(fragment)

    def check(self, where):
        sideways = self.page.evaluate('document.scrollingElement.scrollWidth - innerWidth')
        if sideways > 0:
            self.faults.append(f'{where}: {sideways} pixels stick out at {self.width}')
        for what, script in (('no name', NO_NAME), ('low contrast', LOW_CONTRAST)):
            self.faults += [f'{where} ({self.scheme}): {what}: {found}' for found in self.page.evaluate(script)]

    def shot(self, folder, name):
        if folder:
            file = folder / f'serve-{name}-{self.width}-{self.scheme}.png'
            self.page.screenshot(path=str(file))
            Image.open(file).convert('RGB').quantize(COLOURS).save(file, optimize=True)   # a tenth of the bytes

    def end(self):
        self.context.close()
        return self.faults


def pages(visit, arguments, runs, shots):
    visit.go('#/', 'table.runs tbody tr')
    visit.shot(shots, 'runs')
    visit.go(f'#/run/{arguments.shown}', '.chart:not([hidden])')
    visit.shot(shots, 'run')
    if len(runs) > 1:
        visit.go('#/compare/' + ','.join(runs[:3]), '.chart:not([hidden])')
        visit.shot(shots, 'compare')
    if arguments.failed:
        visit.go(f'#/run/{arguments.failed}/triage', 'article, .tiles')
        visit.shot(shots, 'triage')
    visit.go('#/try', '#drop')
    picture = pathlib.Path(arguments.picture)
    type_ = 'image/png' if picture.suffix == '.png' else 'image/jpeg'
    visit.page.evaluate(DROP, [picture.name, type_, base64.b64encode(picture.read_bytes()).decode()])
    visit.page.wait_for_selector('#answer:has-text(" boxes, ")', timeout=120000)


def try_it(visit, shots):
    page = visit.page
    shown = lambda: page.locator('.boxes g').count()
    asked = lambda: sum(1 for method, url in visit.asked if method == 'POST')
    page.locator('#threshold').focus()
    page.keyboard.press('Home')
    every, once = shown(), asked()
    page.keyboard.press('End')
    none = shown()
    for least in ('0.5', '0.3', '0.2', '0.1', '0.05'):   # a detector that hardly trained has low scores
        page.locator('#threshold').fill(least)
        some = shown()
        if some > 0:
            break
    assert every > 0 and none < every and once == asked() == 1, (every, none, once, asked())
    for name, ending in (('JSON', '.json'), ('CSV', '.csv')):
        with page.expect_download() as download:
            page.get_by_role('button', name=name, exact=True).click()
        text = pathlib.Path(download.value.path()).read_text()
        assert download.value.suggested_filename.endswith(ending)
        found = len(json.loads(text)[0]['detections']) if name == 'JSON' else len(text.splitlines()) - 1
        assert found == some, (name, found, some)
    visit.check('#/try')
    visit.shot(shots, 'try')
    page.locator('#prompt').fill('Find the red ones.')
    page.keyboard.press('Enter')
    page.wait_for_selector('.stage:not([aria-busy])')
    assert asked() == 2
    return f'{every} boxes at 0, {some} at {least}, {none} at 1, one request for all'


def by_keyboard(visit):
    """From the top of the page to a run and back, without a pointer."""
    page = visit.page
    visit.go('#/', 'table.runs tbody tr')
    page.locator('body').press('Tab')
    seen = []
    for _ in range(12):
        seen.append(page.evaluate('document.activeElement.textContent.trim() || document.activeElement.getAttribute("aria-label") || document.activeElement.id'))
        if page.evaluate('Boolean(document.activeElement.closest("tbody th"))'):
            break
        page.keyboard.press('Tab')
    page.keyboard.press('Enter')
    page.wait_for_selector('.chart:not([hidden])')
    assert page.evaluate('document.activeElement.id') == 'view', seen
    page.locator('.chart:not([hidden]) svg').first.focus()
    page.keyboard.press('End')
    words = page.locator('.chart:not([hidden]) .readout').first.text_content()
    assert words.startswith('step '), words
    return ' > '.join(seen) + f'; chart says "{words}"'


def follow(visit, muster, config, run):
    """A run that trains: its page moves without being loaded again."""
    shutil.rmtree(run, ignore_errors=True)
    training = subprocess.Popen([muster, 'launch', config, '-n', '2', '--fresh', '--set', f'run.dir={run}', '--set', 'schedule.max_steps=60',
                                 '--set', 'eval.every_steps=30', '--set', 'checkpoint.every_steps=30'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    page, seen = visit.page, []
    visit.go('#/', 'table.runs tbody tr')
    page.wait_for_selector(f'tr[data-run="{run.name}"]', timeout=60000)
    visit.page.evaluate(f'location.hash = "#/run/{run.name}"')
    page.evaluate('window.sameDocument = true')
    until = time.time() + 240
    while time.time() < until:
        page.wait_for_timeout(1000)
        words = page.evaluate("""() => [document.querySelector('.badge')?.textContent, document.querySelector('.tile dd')?.textContent,
          document.querySelector('.chart:not([hidden]) .line')?.getAttribute('d').length ?? 0, document.querySelector('.log')?.textContent.length ?? 0]""")
        if not seen or seen[-1] != words:
            seen.append(words)
        if words[0] and 'done' in words[0]:
            break
    training.wait(timeout=120)
    assert page.evaluate('window.sameDocument') is True
    states, lengths = [one[0] for one in seen], [one[2] for one in seen]
    assert any('running' in (state or '') for state in states) and 'done' in states[-1], states
    assert len({length for length in lengths if length}) >= 3, lengths
    return f'{len(seen)} different sights, curve of {min(l for l in lengths if l)} to {max(lengths)} letters, {states[-1]}'


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('runs')
    parser.add_argument('--try', dest='tried', required=True)
    parser.add_argument('--picture', required=True)
    parser.add_argument('--muster', default=str(ROOT / 'build' / 'muster'))
    parser.add_argument('--shown', default='demo')
    parser.add_argument('--failed', default='')
    parser.add_argument('--shots', type=pathlib.Path)
    parser.add_argument('--launch', default='')
    arguments = parser.parse_args()
    server = subprocess.Popen([arguments.muster, 'serve', arguments.runs, '--try', arguments.tried, '--port', '0'], stdout=subprocess.PIPE, text=True)
    faults = []
    try:
        address = server.stdout.readline().strip()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox'])
            for width in (1280, 390):
                for scheme in ('light', 'dark'):
                    visit = Visit(browser, address, width, scheme)
                    visit.page.wait_for_selector('table.runs tbody tr')
                    runs = visit.page.evaluate("[...document.querySelectorAll('tr[data-run]')].map((row) => row.dataset.run)")
                    pages(visit, arguments, sorted(runs), arguments.shots)
                    print(width, scheme, try_it(visit, arguments.shots), flush=True)
                    faults += visit.end()
            visit = Visit(browser, address, 1280, 'light')
            print('keyboard:', by_keyboard(visit), flush=True)
            if arguments.launch:
                print('followed:', follow(visit, arguments.muster, arguments.launch, pathlib.Path(arguments.runs) / 'live'), flush=True)
            faults += visit.end()
            browser.close()
    finally:
        server.terminate()
        server.wait()
    for fault in dict.fromkeys(faults):
        print('FAULT', fault)
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main())
