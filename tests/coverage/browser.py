"""A headless Chromium, spoken to in its DevTools protocol over two pipes: nothing but the browser
is needed. https://chromedevtools.github.io/devtools-protocol/ describes the messages."""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE = 60  # seconds for one answer, on a busy machine


def executable() -> str | None:
    """The Chromium of this machine, as scripts/browser finds it."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A running browser; a context manager."""

    def __init__(self, program: str, profile: Path) -> None:
        to_browser, self._out = _pipe()
        self._in, from_browser = _pipe()
        options = [
            *("--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}"),
            *("--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions"),
            *("--disable-background-networking", "--disable-component-update"),
            # Its sandbox wants rights that containers do not give, and root never has.
            "--no-sandbox",
        ]
        # The protocol is spoken on file descriptors 3 and 4.
        command = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, "bash", program, *options, "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(profile)},
        )
        os.close(to_browser)
        os.close(from_browser)
        self._numbers = itertools.count(1)
        self._rest = b""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.send("Browser.close")
        except (OSError, EOFError):
            self._process.kill()
        self._process.wait(timeout=_PATIENCE)
        os.close(self._in)
        os.close(self._out)

    def send(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Sends a command and returns its result; events that come before it are kept."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive(time.monotonic() + _PATIENCE)
            if answer.get("id") != number:
                self.events.append(answer)
                continue
            if "error" in answer:
                raise AssertionError(f"{method}: {answer['error']}")
            return dict(answer["result"])

    def wait_for(self, method: str) -> None:
        """Waits for an event, unless it has come."""
        deadline = time.monotonic() + _PATIENCE
        while all(event.get("method") != method for event in self.events):
            self.events.append(self._receive(deadline))

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise EOFError("the browser does not answer")
            more = os.read(self._in, 1 << 16)
            if not more:
                raise EOFError("the browser has ended")
            self._rest += more
        message, self._rest = self._rest.split(b"\0", 1)
        return dict(json.loads(message))

    def open(self, path: Path, *, scheme: str = "light") -> Page:
        """Opens a file, and waits until it is loaded."""
        return Page(self, path.as_uri(), scheme)


class Page:
    """A page that is open, everything that it asked for, and what it complained of."""

    def __init__(self, browser: Browser, url: str, scheme: str) -> None:
        self.browser = browser
        browser.events.clear()
        target = browser.send("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.send("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Emulation.setEmulatedMedia", features=[_media("prefers-color-scheme", scheme)])
        self.send(
            "Emulation.setDeviceMetricsOverride",
            **{"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        browser.events.clear()
        self.send("Page.navigate", url=url)
        browser.wait_for("Page.loadEventFired")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.send(method, self.session, **params)

    def do(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        done = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def text(self, selector: str) -> str:
        return str(self.do(f"document.querySelector({json.dumps(selector)}).innerText"))

    def count(self, selector: str) -> int:
        return int(self.do(f"document.querySelectorAll({json.dumps(selector)}).length"))

    def click(self, selector: str) -> None:
        """Presses and releases the mouse in the middle of an element, which must be in sight and
        not below another."""
        script = f"""(() => {{
          const element = document.querySelector({json.dumps(selector)});
          const box = element.getBoundingClientRect();
          const x = box.left + box.width / 2, y = box.top + box.height / 2;
          return [x, y, element.contains(document.elementFromPoint(x, y))];
        }})()"""
        x, y, is_on_top = self.do(script)
        assert is_on_top, f"{selector} cannot be clicked at {x}, {y}"
        for kind in ("mousePressed", "mouseReleased"):
            self.send(
                "Input.dispatchMouseEvent",
                **{"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1},
            )

    def press(self, key: str) -> None:
        """Presses a key that writes nothing, such as Enter or ArrowDown, or a character."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def requests(self) -> list[str]:
        """What the page asked for, itself included."""
        return [
            event["params"]["request"]["url"] for event in self._events("Network.requestWillBeSent")
        ]

    def complaints(self) -> list[dict[str, Any]]:
        """What is in the console, and exceptions that nobody caught."""
        methods = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event for method in methods for event in self._events(method)]

    def _events(self, method: str) -> list[dict[str, Any]]:
        self.do("0")  # what was said before has come when this has
        return [event for event in self.browser.events if event.get("method") == method]

    def picture(self) -> bytes:
        """A screenshot, as PNG."""
        return base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])


def _pipe() -> tuple[int, int]:
    """A pipe on file descriptors that are not in the way of 3 and 4."""
    low = os.pipe()
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in low]
    for end in low:
        os.close(end)
    return ends[0], ends[1]


def _media(name: str, value: str) -> dict[str, str]:
    return {"name": name, "value": value}
