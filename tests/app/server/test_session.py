"""What a page does, over the real wire."""

from __future__ import annotations

import io
import json
import time

import livesam
import numpy as np
import pytest
from livesam.app.server.seat import Seat
from livesam.wire import bits_of
from PIL import Image


def test_images_and_pixels(server, photos) -> None:
    listing = server.http.get("/api/images").json()
    assert [one["name"] for one in listing["items"]] == ["below/cat.jpg", "broken.png", "coins.png", "deep.tif"]
    assert listing["total"] == 4
    ids = server.images()
    got = server.http.get(f"/api/images/{ids['coins.png']}/pixels")
    assert got.headers["content-type"] == "image/png"
    assert np.array_equal(np.array(Image.open(io.BytesIO(got.content))), np.array(Image.open(photos / "coins.png")))
    assert server.http.get(f"/api/images/{ids['below/cat.jpg']}/pixels").headers["content-type"] == "image/jpeg"
    small = Image.open(io.BytesIO(server.http.get(f"/api/images/{ids['below/cat.jpg']}/thumbnail").content))
    assert max(small.size) == 160
    broken = server.http.get(f"/api/images/{ids['broken.png']}/pixels")
    assert (broken.status_code, broken.json()["error"]["code"]) == (422, "image")
    assert str(photos) not in broken.text
    assert server.http.get("/api/images?offset=1&limit=1").json()["items"][0]["name"] == "broken.png"


def test_levels_of_a_deep_image(server, photos) -> None:
    image = server.images()["deep.tif"]
    told = server.http.get(f"/api/images/{image}").json()
    samples = np.array(Image.open(photos / "deep.tif"))
    assert (told["deep"], told["range"]) == (True, [samples.min(), samples.max()])
    got = server.http.get(f"/api/images/{image}/pixels?low=1000&high=5000").content
    shown = np.array(Image.open(io.BytesIO(got)))
    wanted = np.rint(np.clip((samples.astype(np.float32) - 1000) / 4000, 0, 1) * 255)
    assert np.array_equal(shown[..., 0], wanted)
    assert server.http.get(f"/api/images/{image}/pixels?low=5&high=1").status_code == 422
    assert server.http.get(f"/api/images/{image}/pixels?low=nan&high=1").status_code == 422


def test_the_same_masks_as_a_local_session(server, photos) -> None:
    local = livesam.open_session(runtime="torch")
    local.set_image(photos / "coins.png")
    with server.wire("?domain=same") as wire:
        opened = wire.ask("open", image=server.images()["coins.png"])
        assert (opened["width"], opened["height"]) == (384, 303)
        assert np.array_equal(wire.mask("click", x=44, y=54), local.click(44, 54).mask)
        assert wire.ask("press", x=80, y=54, positive=False) == {"re": wire.asked}
        assert np.array_equal(wire.mask("click", x=80, y=54, positive=False), local.click(80, 54, False).mask)
        assert np.array_equal(wire.mask("preview", x=155, y=50), local.preview(155, 50).mask)
        assert np.array_equal(wire.mask("undo"), local.undo().mask)
        assert np.array_equal(wire.mask("redo"), local.redo().mask)
        assert wire.ask("reset") == {"re": wire.asked}
        local.reset()
        assert np.array_equal(wire.mask("box", x0=20, y0=30, x1=70, y1=80), local.box(20, 30, 70, 80).mask)
        assert not wire.mask("undo").any()
        assert wire.ask("undo")["error"]["code"] == "state"
    local.close()


def test_what_a_press_took_is_said(server) -> None:
    with server.wire("?domain=pressed") as wire:
        wire.ask("open", image=server.images()["coins.png"])
        assert "pressed" not in wire.ask("click", x=44, y=54)["stages"]
        wire.ask("press", x=80, y=54, positive=False)
        stages = wire.ask("click", x=80, y=54, positive=False)["stages"]
        assert (stages["decode"], stages["pressed"] > 0) == (0, True)
        wire.ask("press", x=50, y=54)
        assert "pressed" not in wire.ask("click", x=51, y=54)["stages"]
    (count,) = (line for line in server.http.get("/metrics").text.splitlines() if "livesam_press_seconds_count" in line)
    assert float(count.split()[1]) >= 2


def test_candidates_are_chosen_and_clicks_go_on_from_there(server) -> None:
    with server.wire("?domain=candidates") as wire:
        wire.ask("open", image=server.images()["below/cat.jpg"])
        first = wire.mask("click", x=210, y=60)
        found = wire.masks("candidates")
        assert len(found) == 3
        assert np.array_equal(found[0][1], first)  # the likeliest is what was shown
        assert [one["iou"] for one, _ in found] == sorted((one["iou"] for one, _ in found), reverse=True)
        assert np.array_equal(wire.mask("choose", index=2), found[2][1])
        assert np.array_equal(wire.mask("choose", index=1), found[1][1])
        assert wire.ask("choose", index=3)["error"]["code"] == "bad_request"
        wire.mask("click", x=250, y=250)
        assert wire.ask("choose", index=0)["error"]["code"] == "state"


def test_accept_edit_paint_and_forget(server) -> None:
    image = server.images()["coins.png"]
    before = len(server.http.get(f"/api/images/{image}").json()["objects"])
    with server.wire("?domain=objects") as wire:
        wire.ask("open", image=image)
        assert wire.ask("accept", label="coin")["error"]["code"] == "state"
        mask = wire.mask("click", x=44, y=54)
        object_ = wire.ask("accept", label=" coin ")["object"]
        assert (object_["label"], object_["clicks"], object_["source"]) == ("coin", 1, "click")
        assert object_["area"] == mask.sum()
        png = server.http.get(f"/api/objects/{object_['id']}/mask").content
        assert np.array_equal(np.array(Image.open(io.BytesIO(png))) > 0, mask)

        assert np.array_equal(wire.mask("edit", object=object_["id"]), mask)
        corrected = wire.mask("click", x=44, y=75, positive=False)  # goes on from the mask
        assert not corrected[75, 44]
        again = wire.ask("accept", label="coin")["object"]
        assert (again["id"], again["clicks"]) == (object_["id"], 2)  # an edit adds to the clicks
        assert len(server.http.get(f"/api/images/{image}").json()["objects"]) == before + 1

        wire.mask("edit", object=object_["id"])
        renamed = wire.ask("accept", label="money")["object"]  # only looked at: it came about as it did
        assert renamed == {**again, "label": "money"}
        wire.mask("edit", object=object_["id"])
        assert wire.ask("accept", label="coin")["object"] == again

        painted = np.zeros((303, 384), bool)
        painted[100:140, 200:260] = True
        box, bits = bits_of(painted)
        assert np.array_equal(wire.mask("paint", bits, box=box), painted)
        assert not wire.mask("undo").any()
        assert np.array_equal(wire.mask("redo"), painted)
        third = wire.ask("accept", label="patch")["object"]
        assert (third["source"], third["area"], third["clicks"]) == ("paint", 2400, 0)
        assert wire.ask("paint", b"123", box=box)["error"]["code"] == "bad_request"
        assert wire.ask("paint", b"", box=None)["error"]["code"] == "bad_request"

    number = third["id"]
    assert server.http.patch(f"/api/objects/{number}", json={"label": "other"}).json()["label"] == "other"
    assert {one["name"] for one in server.http.get("/api/labels").json()} >= {"coin", "patch", "other"}
    assert server.http.delete(f"/api/objects/{number}").status_code == 204
    assert server.http.get(f"/api/objects/{number}/mask").status_code == 404
    assert server.http.post(f"/api/images/{image}/done", json={"done": True}).json()["state"] == "done"


def test_an_accept_that_is_said_again_is_one_object(server) -> None:
    ids = server.images()
    before = len(server.http.get(f"/api/images/{ids['coins.png']}").json()["objects"])

    def clicked(wire, more=0):
        wire.ask("open", image=ids["coins.png"])
        wire.mask("click", x=44, y=54)
        return wire.ask("accept", label="coin", key="k" * (32 + more))

    with server.wire("?domain=again") as wire:
        first = clicked(wire)["object"]
        assert wire.ask("accept", label="coin", key="k" * 32)["object"] == first  # its answer may have been lost
    with server.wire("?domain=again") as wire:  # the link broke, and everything is said once more
        assert clicked(wire)["object"] == first
        assert wire.ask("undo")["error"]["code"] == "state"  # what was said is over
        assert len(server.http.get(f"/api/images/{ids['coins.png']}").json()["objects"]) == before + 1
        wire.mask("edit", object=first["id"])
        wire.mask("click", x=44, y=75, positive=False)
        changed = wire.ask("accept", label="coin", key="edit")["object"]
        wire.mask("edit", object=first["id"])
        wire.mask("click", x=44, y=75, positive=False)
        assert wire.ask("accept", label="coin", key="edit")["object"] == changed  # its clicks are not counted twice
        assert clicked(wire, 1)["object"]["id"] != first["id"]
        wire.ask("open", image=ids["below/cat.jpg"])
        wire.mask("click", x=210, y=60)
        assert wire.ask("accept", label="cat", key="k" * 32)["error"]["code"] == "bad_request"
        assert wire.ask("accept", label="cat", key=["k"])["error"]["code"] == "bad_request"
        assert server.http.delete(f"/api/objects/{first['id']}").status_code == 204
        assert clicked(wire)["error"]["code"] == "not_found"  # it does not rise from the dead


def test_several_sessions_have_images_and_objects_of_their_own(server) -> None:
    ids = server.images()
    with server.wire("?domain=several") as one, server.wire("?domain=several") as two:
        one.ask("open", image=ids["coins.png"])
        two.ask("open", image=ids["below/cat.jpg"])
        first, second = one.mask("click", x=44, y=54), two.mask("click", x=210, y=60)
        assert (first.shape, second.shape) == ((303, 384), (300, 451))
        assert two.ask("undo")["clicks"] == 0
        assert one.ask("click", x=48, y=54)["clicks"] == 2


def test_it_learns_from_all_sessions_of_a_domain_and_can_be_rolled_back(server) -> None:
    coins = ((44, 54), (155, 50))
    with server.wire("?domain=coins") as wire, server.wire("?domain=coins") as other:
        for x, y in coins:
            wire.ask("open", image=server.images()["coins.png"])
            wire.mask("click", x=x, y=y)
            wire.ask("accept", label="coin")
        decoder = server.studio.decoder("coins")
        assert decoder.learner.wait(120)
        state = server.http.get("/api/learning?domain=coins").json()
        assert (state["objects"], state["published"] > 0, state["version"] > 0) == (2, True, True)
        assert [one["clicks"] for one in state["history"]] == [1, 1]
        assert other.ask("open", image=server.images()["coins.png"])["re"]
        head = other.ask("click", x=348, y=186)
        assert head["version"] == state["version"]
        both = other.masks("compare")
        assert [one["name"] for one, _ in both] == ["now", "original"]
        assert both[0][1].shape == both[1][1].shape
        assert server.http.get("/api/learning?domain=untouched").json()["version"] == 0

        back = server.http.post("/api/learning/rollback?domain=coins", json={"version": 0}).json()
        assert back["version"] > state["version"]  # under a number of its own
        base, now = (decoder.slot.digest(decoder.slot.labels()["base"]), decoder.slot.digest(back["version"]))
        assert base == now
        assert server.http.post("/api/learning/rollback?domain=coins", json={"version": 999}).status_code == 404

        off = server.http.post("/api/learning?domain=coins", json={"enabled": False}).json()
        assert off["enabled"] is False
        wire.mask("click", x=46, y=260)
        wire.ask("accept", label="coin")
        assert decoder.learner.stats().waiting == 0
        server.http.post("/api/learning?domain=coins", json={"enabled": True})
        deadline = time.monotonic() + 5
        while not any(event["event"] == "learning" and event["objects"] == 3 for event in wire.events):
            assert time.monotonic() < deadline
            wire.mask("click", x=46, y=260)
            time.sleep(0.2)
    text = server.http.get("/metrics").text
    for name in ("livesam_clicks_total", 'livesam_published{domain="coins"}', "livesam_click_seconds_bucket"):
        assert name in text


def test_a_private_decoder_is_nobody_elses(server) -> None:
    with server.wire("?domain=cells&private=me") as wire:
        assert wire.ask("domain", name="other")["domain"] == "other@me"
        wire.ask("open", image=server.images()["coins.png"])
        assert wire.ask("domain", name="cells")["domain"] == "cells@me"
        assert wire.mask("click", x=44, y=54).any()  # the image is open there, too
    names = [decoder.domain for decoder in server.studio.decoders()]
    assert {"cells@me", "other@me"} <= set(names)
    assert "cells" not in names


def test_a_client_that_goes_while_its_decoder_changes_leaves_both(server, monkeypatch) -> None:
    studio = server.studio
    seat = Seat(studio, "gone1")
    before = studio.decoder("gone1")
    decoder = studio.decoder

    def slow(domain, **more):
        found = decoder(domain, **more)
        seat.close()  # by the connection, on another thread
        return found

    with monkeypatch.context() as patch:
        patch.setattr(studio, "decoder", slow)
        seat.answer({"op": "domain", "name": "gone2"}, memoryview(b""))
    assert (before.users, studio.decoder("gone2").users) == (0, 0)
    seat.close()
    assert before.users == 0


def test_the_rest_is_proposed(server) -> None:
    with server.wire("?domain=propose") as wire:
        image = server.images()["coins.png"]
        wire.ask("open", image=image)
        before = len(server.http.get(f"/api/images/{image}").json()["objects"])
        masks = []
        for x, y in ((155, 50), (270, 120)):
            masks.append(wire.mask("click", x=x, y=y))
            wire.ask("accept", label="round")
        found = wire.masks("propose", label="round")
        assert len(found) >= 8  # of 24 coins
        for i, (_, one) in enumerate(found):
            assert all((one & mask).sum() < 0.31 * one.sum() for mask in masks)
            for _, other in found[:i]:
                assert (one & other).sum() / (one | other).sum() < 0.5
        taken = wire.ask("take", proposal=found[0][0]["id"], label="round")["object"]
        assert (taken["source"], taken["area"], taken["clicks"]) == ("proposal", found[0][1].sum(), 0)
        assert wire.ask("take", proposal=found[0][0]["id"], label="round")["error"]["code"] == "not_found"
        assert "error" not in wire.ask("drop", proposal=found[1][0]["id"])
        assert wire.ask("propose", label="nothing like it")["error"]["code"] == "state"
        assert len(server.http.get(f"/api/images/{image}").json()["objects"]) == before + 3


def test_export_and_import_go_round(server, photos, tmp_path) -> None:
    data = server.http.get("/api/export/coco")
    assert data.headers["content-disposition"].startswith("attachment")
    content = json.loads(data.content)
    assert {one["file_name"] for one in content["images"]} >= {"coins.png"}
    again = server.http.post("/api/import/coco", content=data.content).json()
    assert again["objects"] == 0  # all of it is there already
    one = {**content, "annotations": content["annotations"][:1]}
    one["images"] = [
        {**image, "file_name": "elsewhere/" + image["file_name"].split("/")[-1]} for image in one["images"]
    ]
    one["categories"] = [{**category, "name": "imported"} for category in one["categories"]]
    one["annotations"][0]["segmentation"] = [[5, 5, 25, 5, 25, 25, 5, 25]]
    found = server.http.post("/api/import/coco", content=json.dumps(one).encode()).json()
    assert found["objects"] == 1
    for name in ("", "a\x00b"):
        one["categories"] = [{**category, "name": name} for category in one["categories"]]
        one["annotations"][0]["segmentation"] = [[7, 7, 27, 7, 27, 27, 7, 27]]
        found = server.http.post("/api/import/coco", content=json.dumps(one).encode()).json()
        assert (found["objects"], len(found["skipped"])) == ((1, 0) if not name else (0, 1))
    assert "object" in {label["name"] for label in server.http.get("/api/info").json()["labels"]}
    for format in ("coco-rle", "png", "labelme", "yolo", "cvat"):
        assert server.http.get(f"/api/export/{format}").status_code == 200
    assert server.http.get("/api/export/nonsense").status_code == 404
    assert server.http.post("/api/import/coco", content=b"nonsense").status_code == 422


def test_an_import_guesses_no_image(photos, tmp_path, run) -> None:
    """Of images with the same name in several folders, where the file has other paths than the folder."""
    folder = tmp_path / "in"
    for name in ("a/x.png", "b/x.png", "b/y.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((photos / "coins.png").read_bytes())

    def coco(*names):
        images = [{"id": i, "file_name": name, "width": 384, "height": 303} for i, name in enumerate(names)]
        outline = [[5, 5, 25, 5, 25, 25 + len(names[0]), 5, 25]]
        objects = [{"id": i, "image_id": i, "category_id": 1, "segmentation": outline} for i in range(len(names))]
        found = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "coin"}]}
        return json.dumps(found).encode()

    with run(folder, tmp_path / "out") as server:

        def taken(*names):
            found = server.http.post("/api/import/coco", content=coco(*names)).json()
            items = server.http.get("/api/images").json()["items"]
            return found["skipped"], {one["name"]: one["objects"] for one in items if one["objects"]}

        skipped, objects = taken("x.png", "there/b/x.png")
        assert objects == {}
        assert len(skipped) == 2
        assert "several images are called x.png, and none in the folder has this path" in skipped[0]
        skipped, objects = taken("c/y.png", "b/y.png")  # one of them is meant, and the other is not
        assert (len(skipped), objects) == (1, {"b/y.png": 1})
        assert taken("there\\y.png") == ([], {"b/y.png": 2})
        assert taken("a/x.png", "b/x.png") == ([], {"a/x.png": 1, "b/x.png": 1, "b/y.png": 2})


def test_the_decoder_is_exported(server, tmp_path) -> None:
    got = server.http.get("/api/decoder/safetensors?domain=coins")
    assert got.status_code == 200
    assert len(got.content) > 1 << 20
    assert server.http.get("/api/decoder/nonsense").status_code == 404


def test_wrong_messages_are_answered_and_nothing_breaks(server) -> None:
    with server.wire("?domain=wrong") as wire:
        for op, more in (
            ("nonsense", {}),
            ("click", {"x": 1, "y": 1}),
            ("open", {"image": "../../etc/passwd"}),
            ("open", {}),
            ("edit", {"object": 10**30}),
            ("take", {"proposal": 3, "label": "x"}),
            ("accept", {"label": ""}),
            ("accept", {"label": "\x00"}),
        ):
            assert "error" in wire.ask(op, **more), op
        wire.ask("open", image=server.images()["coins.png"])
        for more in ({"x": 1}, {"x": "1", "y": 1}, {"x": 1e400, "y": 1}, {"x": -1, "y": 5}, {"x": True, "y": 1}):
            assert wire.ask("click", **{k: v for k, v in more.items() if v != 1e400})["error"]["code"] == "bad_request"
        for raw in (
            "nonsense",
            "[]",
            "NaN",
            '{"op": "click", "x": NaN}',
            "[" * 50_000,
            b"",
            b"\xff\xff\xff\xff",
            b"1234567",
            *(json.dumps({"op": op}) for op in (None, True, 1, 1.5, "", [], ["press"], {}, {"op": "press"})),
            *(f'{{"op": "undo", "id": {id_}}}' for id_ in ("1e999", "[]", "[" * 500 + "]" * 500, '{"id": 1}')),
        ):
            wire.socket.send(raw)
            assert wire.receive()[0]["error"]["code"] == "bad_request", raw
        for id_ in (None, True, -1, 2**80, 1.5, "", "x", "\ud800"):
            wire.socket.send(json.dumps({"op": "reset", "id": id_}))
            assert wire.receive()[0] == {"re": id_}
        assert wire.mask("click", x=44, y=54).any()


@pytest.mark.parametrize("query", ["?domain=", "?domain=a@b", "?domain=" + "x" * 200, "?domain=a&private=../x"])
def test_wrong_domains_are_turned_away(server, query) -> None:
    with server.wire(query) as wire:
        head, _ = wire.receive()
        assert head["error"]["code"] == "bad_request"
