#!/usr/bin/env python3
"""The status page in a real browser, Debian's chromium without a window, driven over its DevTools pipe.

    tests/daemon/status_page_browser.py BIN [SCREENSHOTS]

BIN has pageserverd and pagectl. Prints `SKIPPED: ` and why where there is no chromium. The screenshots, at three widths, stay in
the folder SCREENSHOTS where one is given."""
import base64
import contextlib
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

PATIENCE_S = 60
HTML = "<img src=x onerror=\"document.title='run'\"><b>bold</b>"


def expect(holds, what):
    if not holds:
        raise AssertionError(what)


class PageLeft(AssertionError):
    """The page that was asked is left for the next one."""


def until(what, look):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            value = look()
        except PageLeft:
            value = None
        if value:
            return value
        expect(time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}")
        time.sleep(0.02)


class Daemon:
    def __init__(self, folder, bin_dir, **config):
        self.folder = folder
        config = {"listen": [], "unix": [{"path": f"{folder}/s.sock", "mode": "0600"}], "metrics": {"listen": "127.0.0.1:0"}, **config}
        with open(f"{folder}/c.json", "w") as file:
            json.dump(config, file)
        self.log = f"{folder}/log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([f"{bin_dir}/pageserverd", "--config", f"{folder}/c.json"], stderr=log)
        def serves():
            expect(self.process.poll() is None, "the daemon ended: " + open(self.log).read())
            return re.search(r" INFO metrics listener=(127\.0\.0\.1:\d+)", open(self.log).read())

        line = until("the daemon serves", serves)
        self.metrics = f"http://{line[1]}"
        until("the socket", lambda: os.path.exists(f"{folder}/s.sock"))

    def get(self, path):
        with urllib.request.urlopen(self.metrics + path, timeout=PATIENCE_S) as answer:
            return answer.read().decode()

    def sample(self, name):
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics"), re.M)
        return float(found[1]) if found else None

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        expect(self.process.wait(PATIENCE_S) == 0, "the daemon did not stop in order: " + open(self.log).read()[-2000:])


def frame(operation, request, payload):
    return b"PGS1" + struct.pack("<HHQIHH", operation, 0, request, len(payload), 0, 0) + payload


class Session:
    """One session over a connection of its own, frame by frame: see proto/PROTOCOL.md."""
    HELLO, OPEN, GROW, READ, WRITE = 1, 6, 8, 9, 10

    def __init__(self, daemon, store, access, name):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(f"{daemon.folder}/s.sock")
        text = name.encode()
        self.call(self.HELLO, struct.pack("<HHIQHHI", 1, 1, 1 << 20, 0, 4, 0, 0) + b"test")
        self.call(self.OPEN, struct.pack("<BBBBI16xQHHI", access, 0, 0, 0, 0, 0, len(store), len(text), 0) + store.encode() + text)

    def take(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            expect(more, "the daemon closed the connection")
            data += more
        return data

    def call(self, operation, payload):
        self.socket.sendall(frame(operation, 1, payload))
        header = self.take(24)
        length, status = struct.unpack_from("<IH", header, 16)
        answer = self.take(length)
        expect(status == 0, f"operation {operation} answers {status}: {answer!r}")
        return answer


class Browser:
    """A page of a chromium, and what it said on its console."""

    def __init__(self, folder):
        out_read, self.to_browser = os.pipe()
        self.from_browser, in_write = os.pipe()

        def descriptors():  # 3 and 4, as --remote-debugging-pipe has them
            a, b = os.dup(out_read), os.dup(in_write)
            os.dup2(a, 3)
            os.dup2(b, 4)
            os.set_inheritable(3, True)
            os.set_inheritable(4, True)

        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                   "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
                   f"--user-data-dir={folder}/profile", "--remote-debugging-pipe"]
        with open(f"{folder}/chromium.log", "w") as log:
            self.process = subprocess.Popen(command, preexec_fn=descriptors, close_fds=False, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True,
                                            env={**os.environ, "HOME": folder})
        os.close(out_read)
        os.close(in_write)
        self.number, self.buffer, self.faults = 0, b"", []
        self.session = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def receive(self):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.from_browser], [], [], PATIENCE_S)
            expect(ready, "the browser says nothing")
            more = os.read(self.from_browser, 1 << 16)
            expect(more, "the browser ended")
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\0", 1)
        message = json.loads(line)
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.faults.append(json.dumps(params["exceptionDetails"])[:600])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.faults.append(json.dumps(params["args"])[:600])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.faults.append(json.dumps(params["entry"])[:600])
        return message

    def ask(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                fault = answer.get("error")
                if fault and "navigated" in fault["message"]:
                    raise PageLeft(fault["message"])
                expect(not fault, f"{method}: {fault}")
                return answer["result"]

    def run(self, script):
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        expect("exceptionDetails" not in answer, f"{script}: {answer.get('exceptionDetails')}")
        return answer["result"].get("value")

    def go(self, url):
        self.ask("Page.navigate", url=url)
        until(f"{url} is loaded", lambda: self.run("document.readyState") == "complete" and self.run("location.href").startswith(url))

    def screenshot(self, width, path):
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        data = base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])
        with open(path, "wb") as file:
            file.write(data)
        shown_width, _ = struct.unpack(">II", data[16:24])
        expect(shown_width == width and len(data) > 5000, f"{path}: {shown_width} pixels wide, {len(data)} bytes")
        # What is too wide scrolls in its own box, and never the page.
        expect(self.run("document.documentElement.scrollWidth") <= width, f"at {width} pixels the page is wider")

    def end(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def cells(browser, heading):
    """The rows of the table below a heading that begins so, as texts."""
    return browser.run(f"""(() => {{
      const h = [...document.querySelectorAll('h2')].find(e => e.textContent.startsWith({json.dumps(heading)}));
      return h ? [...h.nextElementSibling.querySelectorAll('tbody tr')].map(r => [...r.cells].map(c => c.textContent)) : [];
    }})()""")


def shows_values(daemon, browser):
    writer = Session(daemon, "demo", 1, HTML)
    writer.call(Session.GROW, struct.pack("<Q", 20))
    for page in range(5):
        writer.call(Session.WRITE, struct.pack("<Q", page * 65536) + b"x" * 100)
    reader = Session(daemon, "demo", 0, "reader")
    for _ in range(16):
        reader.call(Session.READ, struct.pack("<QQ", 0, 8))
    gone = Session(daemon, "demo", 0, "gone")
    gone.call(Session.READ, struct.pack("<QQ", 0, 8))
    asked = Session(daemon, "demo", 0, "asked only, as a health check does")
    for session in (gone, asked):
        session.socket.close()
    until("the end is seen", lambda: daemon.sample('pageserver_sessions{access="read"}') == 1)

    browser.go(daemon.metrics + "/")
    for operation in ("read", "write", "grow"):
        row = next(r for r in cells(browser, "Requests since") if r[0] == operation)
        expect(float(row[1]) == daemon.sample(f'pageserver_requests_total{{operation="{operation}",status="ok"}}'), f"{row}")
    store = cells(browser, "Open stores: 1")[0]
    expect(store[:2] == ["demo", "1.2 MiB"], f"{store}")
    expect(daemon.sample('pageserver_store_size_bytes{store="demo"}') == 20 * 65536, "size")
    expect(browser.run("document.querySelectorAll('h2').length") >= 4, "tables")
    shown = cells(browser, f"Connections: {int(daemon.sample('pageserver_connections'))}")
    expect([row[2] for row in shown] == [HTML, "reader"], f"{shown}")
    expect(browser.run("document.title") == "pageserver" and browser.run("document.querySelectorAll('img,main b').length") == 0,
           "a session's name became markup")
    ended = cells(browser, "Sessions that ended last")
    expect([(row[2], row[-1]) for row in ended] == [("gone", "end of stream")], f"{ended}")

    # Live: without a new page the number goes up, and what has the focus keeps it.
    browser.run("document.querySelector('.wide').focus()")
    for _ in range(3):
        reader.call(Session.READ, struct.pack("<QQ", 0, 8))
    until("the page follows", lambda: next(r for r in cells(browser, "Requests since") if r[0] == "read")[1] == "20")
    expect(browser.run("document.activeElement.className") == "wide", "the focus is lost")
    until("percentiles of the last minutes are drawn",
          lambda: browser.run("[...document.querySelectorAll('svg path')].filter(p => p.getAttribute('d').includes('M')).length") >= 2)
    return [writer, reader]


def shows_map(browser):
    words = "document.querySelector('#words').textContent"
    browser.run("document.querySelector('form').requestSubmit()")
    text = until("the map", lambda: browser.run(f"{words}.startsWith('Pages ') ? {words} : ''"))
    expect(text == "Pages 0 to 19 of 20, 1 a tile: 5 with data, 5 in the log, 0 held by pins and forks, "
           "5 written in the last minute.", text)
    painted = browser.run("""(() => { const c = document.querySelector('canvas'), g = c.getContext('2d');
      const d = g.getImageData(0, 0, c.width, c.height).data; let n = 0;
      for (let i = 3; i < d.length; i += 4) n += d[i] !== 0; return n / (c.width * c.height); })()""")
    expect(0 < painted < 0.5, f"{painted} of the map is painted")


# Of every text that is shown, and of what is drawn on: how far its colour is from that below it, as WCAG 2 has it.
CONTRASTS = """(() => {
  const parts = colour => { const g = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    g.fillStyle = colour; g.fillRect(0, 0, 1, 1); return [...g.getImageData(0, 0, 1, 1).data]; };
  const light = colour => { const [r, g, b] = parts(colour).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const below = document.createElement('p'); below.style.backgroundColor = 'Canvas'; document.body.append(below);
  const ground = getComputedStyle(below).backgroundColor; below.remove();
  const far = colour => { const [a, b] = [light(colour), light(ground)]; return (Math.max(a, b) + .05) / (Math.min(a, b) + .05); };
  const style = (e, k) => getComputedStyle(e)[k];
  const texts = [...document.querySelectorAll('h1,h2,p,th,td,a,label')].filter(e => e.offsetParent && e.textContent.trim());
  const drawn = [...document.querySelectorAll('path.half,path.most')].map(e => style(e, 'stroke'))
    .concat([...document.querySelectorAll('#legend b')].map(e => style(e, 'backgroundColor')));
  return {ground: light(ground), texts: texts.length, text: Math.min(...texts.map(e => far(style(e, 'color')))),
          drawings: drawn.length, drawing: Math.min(...drawn.map(far))};
})()"""


def is_read_in_light_and_dark(browser, screenshots):
    grounds = []
    for scheme in ("light", "dark"):
        browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        seen = browser.run(CONTRASTS)
        grounds.append(seen["ground"])
        expect(seen["texts"] > 20 and seen["text"] >= 4.5, f"texts in {scheme}: {seen}")
        expect(seen["drawings"] >= 6 and seen["drawing"] >= 3, f"drawings in {scheme}: {seen}")
        browser.screenshot(800, f"{screenshots}/status-page-{scheme}.png")
    expect(grounds[0] > 0.8 and grounds[1] < 0.1, f"grounds: {grounds}")
    browser.ask("Emulation.setEmulatedMedia", features=[])


def tells_without_scripts(daemon, browser):
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    browser.go(daemon.metrics + "/?without")
    for operation in ("read", "write", "grow"):
        row = next(r for r in cells(browser, "Requests since") if r[0] == operation)
        expect(float(row[1]) == daemon.sample(f'pageserver_requests_total{{operation="{operation}",status="ok"}}'), f"{row}")
    expect(cells(browser, "Open stores: 1")[0][:2] == ["demo", "1.2 MiB"], "the store")
    expect([row[2] for row in cells(browser, "Connections: ")] == [HTML, "reader"], "the sessions")
    drawn = browser.run("[...document.querySelectorAll('svg path')].filter(p => p.getAttribute('d').includes('M')).length")
    expect(drawn >= 2, "the plots are drawn by the daemon")
    # What would do nothing is not there.
    shown = browser.run("[...document.querySelectorAll('button,form,canvas,input')].filter(e => e.offsetParent).length")
    expect(shown == 0, f"{shown} controls are shown that need a script")
    browser.ask("Emulation.setScriptExecutionDisabled", value=False)


def maps_a_large_image(bin_dir, browser):
    pages, places, rounds = 16 << 20, 64, 4
    with tempfile.TemporaryDirectory(prefix="pageserver-large-") as folder, contextlib.ExitStack() as stack:
        with open(f"{folder}/large.img", "wb") as file:
            file.truncate(pages << 16)
            for place in range(places):
                file.seek((pages // places * place) << 16)
                file.write(b"data")
        daemon = Daemon(folder, bin_dir, stores=[{"name": "large", "path": f"{folder}/large.img"}])
        stack.callback(daemon.process.kill)
        browser.go(daemon.metrics + "/")
        browser.run("document.querySelector('form').requestSubmit()")
        words = "document.querySelector('#words').textContent"
        text = until("the map", lambda: browser.run(f"{words}.startsWith('Pages ') ? {words} : ''"))
        expect(text.startswith(f"Pages 0 to {pages - 1} of {pages}, 4096 a tile: {places} with data, "), text)
        size = browser.run("(() => { const c = document.querySelector('canvas'); return [c.width, c.height]; })()")
        expect(size[0] <= 1024 and size[1] <= 1024, f"the map is drawn {size}")
        # A tile that is clicked is shown by its pages.
        browser.run("""(() => { const c = document.querySelector('canvas'), b = c.getBoundingClientRect();
          c.dispatchEvent(new MouseEvent('click', {clientX: b.left + 1, clientY: b.top + 1})); })()""")
        text = until("the tile", lambda: browser.run(f"{words}.startsWith('Pages 0 to 4095 of ') ? {words} : ''"))
        expect(", 1 a tile: 1 with data, " in text, text)

        # Who reads and writes the store meanwhile is answered: it waits for no map.
        done, answers, faults = threading.Event(), [], []

        def asks():
            try:
                for _ in range(rounds):
                    first = tiles = 0
                    while first < pages:
                        answers.append(daemon.get(f"/pages?store=large&tile={pages // 4096}&from={first}"))
                        part = json.loads(answers[-1])
                        expect(part["next"] > first, "a part of a map has nothing")
                        first, tiles = part["next"], tiles + len(part["data"]["tiles"])
                    expect(tiles == 4096, f"a map has {tiles} tiles")
            except Exception as fault:
                faults.append(fault)
            done.set()

        writer = Session(daemon, "large", 1, "writer")
        thread = threading.Thread(target=asks)
        thread.start()
        requests, longest = 0, 0.0
        while not done.is_set():
            began = time.monotonic()
            writer.call(Session.WRITE, struct.pack("<Q", requests % pages << 16) + b"x")
            longest = max(longest, time.monotonic() - began)
            requests += 1
        thread.join(PATIENCE_S)
        expect(not faults, f"{faults}")
        # A part is what one turn on the store's threads finds, and never more than 4096 tiles of each kind.
        most, each = max(len(answer) for answer in answers), sum(len(answer) for answer in answers) // rounds
        expect(most <= 20 << 10 and each <= 64 << 10, f"a map has {each} bytes, a part of it {most}")
        expect(requests > rounds and longest < 2, f"{requests} writes beside {rounds} maps, the longest took {longest:.2f} s")
        print(f"{pages} pages: a map has {each} bytes in {len(answers) // rounds} parts of at most {most}, with "
              f"{requests // rounds} writes beside it; "
              f"the longest of these took {longest * 1e3:.1f} ms")
        writer.socket.close()
        daemon.end()


def stays_usable(daemon, browser, count):
    sessions = [Session(daemon, "demo", 0, f"s{i}") for i in range(count)]
    # With those of before.
    expect(daemon.sample("pageserver_connections") >= count, "connections")
    began = time.monotonic()
    browser.go(daemon.metrics + "/?")
    took = time.monotonic() - began
    expect(took < 5, f"the page took {took:.1f} s with {count} sessions")
    heading = "Connections: " + str(int(daemon.sample("pageserver_connections")))
    until("all are counted", lambda: cells(browser, heading))
    first = [row[0] for row in cells(browser, heading)]
    bytes_sent = len(daemon.get("/").encode())
    expect(bytes_sent <= 60 << 10, f"the page has {bytes_sent} bytes")
    browser.run("[...document.querySelectorAll('a')].find(a => a.textContent.startsWith('The next')).click()")
    until("the next ones", lambda: browser.run("location.search").startswith("?after=") and cells(browser, heading) and
          int(cells(browser, heading)[0][0]) > int(first[-1]))
    print(f"{count} sessions: {took * 1000:.0f} ms until the page is there, {bytes_sent} bytes")
    for session in sessions:
        session.socket.close()


def main():
    bin_dir = sys.argv[1]
    if not shutil.which("chromium"):
        print("SKIPPED: chromium is not here")
        return
    wanted = 10000
    # A connection takes the daemon two descriptors. Where there may not be so many, there are fewer sessions.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 2 * wanted + 2000
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, max(hard, files)))
    except (ValueError, OSError):
        files = min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    count = min(wanted, (files - 2000) // 2)
    with tempfile.TemporaryDirectory(prefix="pageserver-browser-") as folder, contextlib.ExitStack() as stack:
        screenshots = sys.argv[2] if len(sys.argv) > 2 else folder
        daemon = Daemon(folder, bin_dir, stores=[{"name": "demo", "path": f"{folder}/demo.img"}],
                        limits={"connections": 2 * wanted, "strangers": 2 * wanted, "peer_percent": 100})
        stack.callback(daemon.process.kill)
        browser = Browser(folder)
        stack.callback(browser.end)
        sessions = shows_values(daemon, browser)
        shows_map(browser)
        for width in (360, 800, 1600):
            browser.screenshot(width, f"{screenshots}/status-page-{width}.png")
        is_read_in_light_and_dark(browser, screenshots)
        tells_without_scripts(daemon, browser)
        stays_usable(daemon, browser, count)
        maps_a_large_image(bin_dir, browser)
        expect(not browser.faults, "the console has: " + "\n".join(browser.faults))
        for session in sessions:
            session.socket.close()
        daemon.end()
        print("status page: values as in /metrics, texts stay texts, maps, three widths, light and dark, without scripts, nothing on the console")


main()
