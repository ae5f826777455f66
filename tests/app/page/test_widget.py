"""The notebook's canvas in a real browser, with a session of this process behind it as in a kernel."""

from __future__ import annotations

import base64
import json
from typing import Any

import livesam
import numpy as np
import pytest
from livesam.app.page import built
from livesam.benchmarks.page.browser import Browser
from livesam.notebook import Conversation

ADDRESS = "http://notebook.test/"
CELL = """<!doctype html><body><div id="cell"></div><script type="module">
import widget from "./widget.js";
const told = [];
const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
const model = {
  on: (event, one) => told.push(one),
  off: () => undefined,
  send: async (content, callbacks, buffers) => {
    const text = buffers.map((one) => btoa(String.fromCharCode(...new Uint8Array(one))));
    const [header, payload] = JSON.parse(await window.kernel(JSON.stringify([content, text])));
    told.forEach((one) => one(header, payload ? [new DataView(bytes(payload).buffer)] : []));
  },
};
window.stop = widget.render({model, el: document.getElementById("cell")});
</script>"""


def test_an_object_is_accepted_below_a_cell(chrome: Browser) -> None:
    data = pytest.importorskip("skimage.data", reason="the photo comes with scikit-image")
    session = livesam.open_session()
    image = data.astronaut()
    session.set_image(image)
    talk = Conversation(session, image, ["astronaut", "shuttle"])

    def kernel(text: str) -> str:
        content, buffers = json.loads(text)
        header, payload = talk.answer(content, base64.b64decode(buffers[0]) if buffers else b"")
        return json.dumps([header, base64.b64encode(payload).decode()])

    def notebook(route: Any) -> None:
        script = route.request.url.endswith("widget.js")
        body = (built().parents[2] / "widget.js").read_text() if script else CELL
        route.fulfill(body=body, content_type="text/javascript" if script else "text/html")

    with chrome.visit("about:blank") as visitor:
        page = visitor.page
        page.expose_function("kernel", kernel)
        page.route(f"{ADDRESS}**", notebook)
        page.goto(ADDRESS)
        stage = page.locator(".stage[aria-label^='image, 512 by 512']")
        stage.wait_for()
        page.get_by_role("button", name="Whole image").and_(page.locator(":enabled")).wait_for()
        box = stage.bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.6)
        page.get_by_role("button", name="Accept", exact=True).and_(page.locator(":enabled")).wait_for()
        answer = session.answer()
        assert answer is not None
        page.keyboard.press("Enter")
        page.get_by_text("1 object accepted").wait_for()
        assert visitor.complaints == []
        page.evaluate("window.stop()")
    (one,) = talk.objects.values()
    assert one.label == "astronaut"
    assert one.clicks == 1
    assert np.array_equal(one.mask, answer.mask)
    session.close()
