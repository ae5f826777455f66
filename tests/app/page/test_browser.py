"""The page in a real browser, at a real server that learns."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from livesam.benchmarks.page.browser import Browser, Visitor
from livesam.benchmarks.serving.served import Served
from PIL import Image

Mask = npt.NDArray[np.bool_]


def objects_of(served: Served, name: str) -> list[dict[str, Any]]:
    """What the server has on an image."""
    items = served.json("/api/images?offset=0&limit=50")["items"]
    image = next(item["id"] for item in items if item["name"] == name)
    return list(served.json(f"/api/images/{image}")["objects"])


def kept(served: Served, number: Any) -> Mask:
    """An accepted mask, from the server."""
    return np.asarray(Image.open(io.BytesIO(served.read(f"/api/objects/{number}/mask")))) > 127


def iou(one: Mask | None, other: Mask | None) -> float:
    assert one is not None
    assert other is not None
    return float((one & other).sum() / (one | other).sum())


def open_image(visitor: Visitor, name: str) -> None:
    """From wherever the browser or the server was before."""
    visitor.page.get_by_role("button", name=name).click()
    visitor.until(f"document.querySelector('.caption__name').textContent === {json.dumps(name)}")
    visitor.settled()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools on NumPy 2
def test_a_folder_is_annotated_and_a_killed_server_loses_nothing(served: Served, visitor: Visitor) -> None:
    open_image(visitor, "astronaut.png")
    visitor.click(150, 260)
    first = visitor.painted()
    visitor.click(215, 115, held_s=0.5)
    assert visitor.steps() == 2
    assert visitor.ask("window.__livesam.latencies().at(-1).decode") == 0  # it was answered while the button was down
    visitor.key("Control+z")
    assert visitor.steps() == 1
    assert iou(visitor.painted(), first) == 1
    visitor.key("Control+Shift+z")
    seen = {"astronaut.png": visitor.painted()}
    visitor.key("Enter")
    assert iou(kept(served, objects_of(served, "astronaut.png")[-1]["id"]), seen["astronaut.png"]) == 1

    visitor.key("d")
    visitor.drag(30, 5, 430, 295)
    seen["chelsea.png"] = visitor.painted()
    visitor.key("f")
    (cat,) = objects_of(served, "chelsea.png")
    assert iou(kept(served, cat["id"]), seen["chelsea.png"]) == 1
    assert visitor.complaints == []  # the content security policy would be among them

    visitor.key("d")
    visitor.click(44, 54)
    served.kill()
    visitor.until("document.querySelector('[role=alert]') !== null")
    visitor.page.mouse.click(*visitor.place(52, 62))  # said while nobody listens
    served.start()
    visitor.until("document.querySelector('[role=alert]') === null")
    visitor.settled()
    assert visitor.steps() == 2
    seen["coins.png"] = visitor.painted()
    visitor.key("Enter")
    for name, mask in seen.items():
        assert iou(kept(served, objects_of(served, name)[-1]["id"]), mask) == 1
    assert_coco_has(served, seen)


def assert_coco_has(served: Served, seen: dict[str, Mask | None]) -> None:
    """What pycocotools reads from the exported file is what was seen."""
    COCO = pytest.importorskip("pycocotools.coco").COCO
    coco = COCO()
    coco.dataset = json.loads(served.read("/api/export/coco"))
    coco.createIndex()
    images = {image["file_name"]: image["id"] for image in coco.dataset["images"]}
    for name, mask in seen.items():
        found = [coco.annToMask(one).astype(bool) for one in coco.loadAnns(coco.getAnnIds(imgIds=[images[name]]))]
        assert max(iou(one, mask) for one in found) == 1


def test_a_page_that_is_opened_anew_goes_on_where_it_was(visitor: Visitor) -> None:
    open_image(visitor, "coins.png")
    visitor.page.reload()
    visitor.settled()
    assert visitor.ask("document.querySelector('.caption__name').textContent") == "coins.png"


def test_another_mask_a_brush_an_edit_and_a_deletion(served: Served, visitor: Visitor) -> None:
    open_image(visitor, "coins.png")
    before = visitor.objects()
    visitor.click(270, 120)
    first = visitor.painted()
    for _ in range(3):
        visitor.key("Tab")
    assert visitor.ask("document.querySelector('.toolbar .chip').textContent") in {"1 of 3", "2 of 3", "3 of 3"}
    visitor.key("Tab")
    visitor.key("b")
    visitor.drag(20, 280, 60, 280)
    painted = visitor.painted()
    assert painted is not None
    assert first is not None
    assert painted[280, 20:60].all()
    visitor.key("e")
    visitor.drag(20, 280, 60, 280)
    erased = visitor.painted()
    assert erased is not None
    assert not erased[280, 20:60].any()
    visitor.key("v")
    visitor.key("Enter")
    assert visitor.objects() == before + 1

    visitor.page.get_by_role("button", name=f"Edit object {before + 1} again").click()
    visitor.settled()
    assert iou(visitor.painted(), erased) == 1
    visitor.click(290, 130)
    changed = visitor.painted()
    visitor.key("Enter")
    assert visitor.objects() == before + 1
    (number,) = {one["id"] for one in objects_of(served, "coins.png")[before:]}
    assert iou(kept(served, number), changed) == 1

    visitor.page.get_by_role("button", name=f"Delete object {before + 1}").click()
    visitor.settled()
    assert visitor.objects() == before
    assert len(objects_of(served, "coins.png")) == before
    assert visitor.complaints == []


def test_accept_waits_for_the_last_answer_and_the_next_click_for_accept(served: Served, visitor: Visitor) -> None:
    open_image(visitor, "coins.png")
    before, page = visitor.objects(), visitor.page
    places = [visitor.place(x, y) for x, y in ((270.5, 120.5), (330.5, 120.5), (44.5, 54.5))]
    page.mouse.click(*places[0])
    page.mouse.click(*places[1])
    page.keyboard.press("Enter")
    page.mouse.click(*places[2])
    visitor.settled()
    assert visitor.objects() == before + 1
    assert visitor.steps() == 1
    saved = objects_of(served, "coins.png")[-1]
    assert saved["clicks"] == 2
    visitor.key("Escape")
    visitor.page.get_by_role("button", name=f"Edit object {before + 1} again").click()
    visitor.settled()
    assert iou(visitor.painted(), kept(served, saved["id"])) == 1
    visitor.key("Enter")
    (again,) = (one for one in objects_of(served, "coins.png") if one["id"] == saved["id"])
    assert (again["clicks"], again["created"]) == (2, saved["created"])


def test_a_refused_accept_brings_the_object_back_without_the_next_click(served: Served, chrome: Browser) -> None:
    held: list[Any] = []

    def between(socket: Any) -> None:
        server = socket.connect_to_server()

        def said(message: Any) -> None:
            accept = isinstance(message, str) and json.loads(message)["op"] == "accept"
            held.append((socket, json.loads(message)["id"])) if accept else server.send(message)

        socket.on_message(said)

    with chrome.visit("about:blank") as visitor:
        visitor.page.route_web_socket("**/api/session**", between)
        visitor.page.goto(served.url)
        visitor.settled()
        open_image(visitor, "coins.png")
        visitor.click(270, 120)
        shown = visitor.painted()
        visitor.page.keyboard.press("Enter")
        visitor.page.mouse.click(*visitor.place(44.5, 54.5))
        while not held:
            visitor.page.wait_for_timeout(10)
        socket, number = held[0]
        socket.send(json.dumps({"re": number, "error": {"code": "storage", "message": "the disk is full"}}))
        visitor.settled()
        assert visitor.steps() == 1
        assert iou(visitor.painted(), shown) == 1
        visitor.click(290, 130)  # the server has the same steps still
        assert visitor.steps() == 2
        visitor.key("Escape")


def test_an_accept_whose_answer_is_lost_is_one_object_and_the_next_click_the_next(
    served: Served, chrome: Browser
) -> None:
    """Enter and the next click, and the link breaks: before the server has it, and after it has."""
    cut: list[bool] = []  # whether the next accept arrives, while its answer does not

    def between(socket: Any) -> None:
        server = socket.connect_to_server()

        def said(message: Any) -> None:
            if not (cut and isinstance(message, str) and json.loads(message)["op"] == "accept"):
                server.send(message)
                return
            if cut.pop():
                server.on_message(lambda answer: socket.close(code=1011))
                server.send(message)
            else:
                socket.close(code=1011)

        socket.on_message(said)

    with chrome.visit("about:blank") as visitor:
        visitor.page.route_web_socket("**/api/session**", between)
        visitor.page.goto(served.url)
        visitor.settled()
        open_image(visitor, "coins.png")
        for arrives in (False, True):
            before = objects_of(served, "coins.png")
            visitor.click(270, 120)
            shown = visitor.painted()
            cut.append(arrives)
            visitor.page.keyboard.press("Enter")
            visitor.page.mouse.click(*visitor.place(44.5, 54.5))
            visitor.until("document.querySelector('[role=alert]') !== null")
            visitor.until("document.querySelector('[role=alert]') === null")
            visitor.settled()
            assert visitor.objects() == len(before) + 1
            (new,) = objects_of(served, "coins.png")[len(before) :]
            assert (new["clicks"], iou(kept(served, new["id"]), shown)) == (1, 1)
            assert visitor.steps() == 1
            next_one = visitor.painted()
            assert next_one is not None
            assert next_one[54, 44]
            visitor.key("Escape")


def test_what_comes_too_late_is_not_shown(served: Served, chrome: Browser) -> None:
    held: list[Any] = []

    def between(socket: Any) -> None:
        server = socket.connect_to_server()

        def told(message: Any) -> None:
            head = message if isinstance(message, str) else message[4 : 4 + int.from_bytes(message[:4], "little")]
            late = '"name":"original"' in (head if isinstance(head, str) else head.decode())
            held.append((socket, message)) if late else socket.send(message)

        socket.on_message(server.send)
        server.on_message(told)

    with chrome.visit("about:blank") as visitor:
        visitor.page.route_web_socket("**/api/session**", between)
        visitor.page.goto(served.url)
        visitor.settled()
        open_image(visitor, "coins.png")
        visitor.click(270, 120)
        visitor.page.keyboard.press("c")
        while not held:
            visitor.page.wait_for_timeout(10)
        visitor.page.keyboard.press("Escape")
        socket, message = held[0]
        socket.send(message)
        visitor.settled()
        assert visitor.page.get_by_role("note").count() == 0


def test_a_page_that_is_turned_away_asks_again_when_told(served: Served, chrome: Browser) -> None:
    calls: list[str] = []

    def full(socket: Any) -> None:
        calls.append(socket.url)
        socket.send(json.dumps({"re": None, "error": {"code": "at_capacity", "message": "8 sessions are open"}}))
        socket.send(json.dumps({"event": "closing", "why": "8 sessions are open"}))
        socket.close(code=1013, reason="8 sessions are open")

    with chrome.visit("about:blank") as visitor:
        visitor.page.route_web_socket("**/api/session**", full)
        visitor.page.goto(served.url)
        again = visitor.page.get_by_role("button", name="Try again")
        again.wait_for(timeout=60_000)
        assert "The server is running" in visitor.page.get_by_role("alert").inner_text()
        visitor.page.wait_for_timeout(700)  # the first wait was 250 ms
        assert len(calls) == 1
        again.click()
        while len(calls) < 2:
            visitor.page.wait_for_timeout(10)
        again.wait_for(timeout=60_000)


def test_the_rest_is_proposed_and_decided_by_one_key(served: Served, visitor: Visitor) -> None:
    open_image(visitor, "coins.png")
    visitor.click(155, 50)
    visitor.key("Enter")
    before = visitor.objects()
    visitor.key("g")
    bar = visitor.page.get_by_role("group", name="Proposals")
    bar.wait_for(timeout=60_000)
    visitor.until(f"document.querySelector('.stage').getBoundingClientRect().bottom <= {bar.bounding_box()['y'] + 1}")
    assert visitor.place(0, 303)[1] <= bar.bounding_box()["y"]  # it covers nothing of the picture
    count = int(bar.inner_text().split("of")[1].split()[0])
    assert count >= 1
    visitor.key("y")
    assert visitor.objects() == before + 1
    assert len(objects_of(served, "coins.png")) == before + 1
    if count > 1:
        visitor.key("n")
        assert visitor.objects() == before + 1


def test_the_original_decoder_is_compared(visitor: Visitor) -> None:
    open_image(visitor, "astronaut.png")
    visitor.click(428, 160)
    visitor.key("c")
    assert "original decoder" in visitor.page.get_by_role("note").inner_text(timeout=60_000)
    visitor.key("c")
    visitor.key("Escape")
    assert visitor.steps() == 0
    assert visitor.painted() is None
    assert visitor.complaints == []


def test_what_cannot_be_opened_or_exported_says_why(visitor: Visitor) -> None:
    page, refusal = visitor.page, {"error": {"code": "image", "message": "the file is cut off"}}
    page.route("**/pixels*", lambda route: route.fulfill(status=422, json=refusal))
    page.route("**/export/yolo", lambda route: route.fulfill(status=422, json=refusal))
    page.get_by_role("button", name="chelsea.png").click()
    alert = page.get_by_role("alert")
    assert "cannot be opened. the file is cut off" in alert.inner_text(timeout=60_000)
    page.unroute("**/pixels*")
    alert.get_by_role("button", name="Next image").click()
    visitor.settled()
    assert alert.count() == 0

    def export(name: str) -> None:
        page.get_by_role("button", name="Import and export annotations").click()
        page.get_by_role("menuitem", name=name, exact=True).click()

    export("YOLO segmentation")
    page.get_by_role("status").get_by_text("the file is cut off").wait_for(timeout=60_000)
    with page.expect_download(timeout=60_000) as download:
        export("COCO")
    assert download.value.suggested_filename.endswith(".json")
    assert "annotations" in json.loads(download.value.path().read_text())


def test_no_mouse_is_needed(visitor: Visitor) -> None:
    open_image(visitor, "astronaut.png")
    before = visitor.objects()
    visitor.page.locator(".stage").focus()
    visitor.key("Alt+ArrowDown")
    visitor.key(".")
    assert visitor.steps() == 1
    visitor.key("Shift+Enter")
    assert visitor.objects() == before + 1


def test_a_finger_adds_removes_and_two_zoom(visitor: Visitor) -> None:
    open_image(visitor, "astronaut.png")
    devtools = visitor.page.context.new_cdp_session(visitor.page)

    def touch(phase: str, *fingers: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": at} for at, (x, y) in enumerate(fingers)]
        devtools.send("Input.dispatchTouchEvent", {"type": f"touch{phase}", "touchPoints": points})

    x, y = visitor.place(150, 260)
    touch("Start", (x, y))
    touch("End")
    visitor.until("window.__livesam.steps() === 1")
    visitor.settled()
    touch("Start", visitor.place(400, 60))
    visitor.until("window.__livesam.steps() === 2")  # while it is held down: taken away
    touch("End")
    visitor.settled()
    assert visitor.steps() == 2
    before = visitor.place(1, 0)[0] - visitor.place(0, 0)[0]
    touch("Start", (x, y))
    touch("Start", (x, y), (x + 100, y))
    for apart in (120, 160, 200):
        touch("Move", (x, y), (x + apart, y))
    touch("End")
    assert visitor.place(1, 0)[0] - visitor.place(0, 0)[0] > before * 1.5
    assert visitor.steps() == 2
    visitor.key("b")
    touch("Start", (x, y))
    touch("Start", (x, y), (x + 100, y))
    touch("Move", (x, y), (x + 120, y))
    touch("End")
    visitor.settled()
    assert visitor.steps() == 2  # the brush painted nothing
    visitor.key("v")
    visitor.key("Escape")


def test_ten_thousand_images_are_a_few_in_the_document(served: Served, chrome: Browser) -> None:
    def many(route: Any) -> None:
        asked = dict(pair.split("=") for pair in route.request.url.split("?")[1].split("&"))
        first, count = int(asked["offset"]), int(asked["limit"])
        real = served.json("/api/images?offset=0&limit=1")["items"][0]
        items = [{**real, "name": f"{at}.png"} for at in range(first, min(10_000, first + count))]
        route.fulfill(json={"total": 10_000, "done": 0, "items": items})

    with chrome.visit("about:blank") as visitor:
        visitor.page.route("**/api/images?**", many)
        visitor.page.goto(served.url)
        visitor.settled()
        assert visitor.ask("document.querySelectorAll('.thumbnail').length") < 40
        visitor.ask("document.querySelector('.thumbnails').scrollTo(0, 1e9)")
        visitor.page.get_by_role("button", name="9999.png").wait_for(timeout=60_000)
        assert visitor.ask("document.querySelectorAll('.thumbnail').length") < 40


def test_an_empty_folder_says_what_to_do(served: Served, chrome: Browser) -> None:
    with chrome.visit("about:blank") as visitor:
        nothing = {"total": 0, "done": 0, "items": []}
        visitor.page.route("**/api/images?**", lambda route: route.fulfill(json=nothing))
        visitor.page.goto(served.url)
        visitor.page.get_by_role("heading", name="No images in this folder").wait_for(timeout=60_000)
