"""A server on Ray from its settings until it is told to stop. The only module that starts Ray for it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from livesam.app.cluster.names import APPLICATION, ENCODERS, REGISTRY, SESSIONS, Scale, batch_of
from livesam.app.server.database import FILE
from livesam.app.server.lock import only_here
from livesam.app.server.serving import check, free_port, images_of
from livesam.app.server.soundness import check_log
from livesam.app.server.store import Store
from livesam.engine.values.errors import LivesamError

if TYPE_CHECKING:
    from livesam.app.server.settings import Settings

log = logging.getLogger(__name__)

LOCAL = "local"
STORE_BYTES = 256 << 20  # images and interactions on their way: a picture of 12 million pixels has 36 MB
TRIES = 3  # to start Ray on this machine
HEAD = {"node:__internal_head__": 0.001}  # the machine of the output folder, whose database is SQLite
ANSWERS_AT_ONCE = 32  # of an actor of learners: taking an interaction is quick, and one that hangs holds one


def serve(settings: Settings, scale: Scale, tell: Callable[[str], object]) -> None:
    """Serve until SIGINT or SIGTERM. ``tell`` gets the address once it can be opened.

    Raises:
        ValueError: as ``livesam.app.server.serving.prepared``.
        LivesamError: Ray is not installed, the cluster cannot be reached, or a part of the server did not start.
        OSError: the output folder cannot be written to.
    """
    check(settings)
    settings.out.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    with only_here(settings.out), _asked_to_stop(stop), _connected(scale) as ray:
        if settings.port == 0:
            settings = replace(settings, port=free_port(settings))
        settings = replace(settings, out=settings.out.resolve())
        lost = check_log(settings.out / FILE)
        if lost is not None:
            log.error("%s", lost)
        Store(settings.out).close()  # its tables, before several replicas find none at once
        with _running(ray, settings, scale):
            name = f"[{settings.host}]" if ":" in settings.host else settings.host
            token = "" if settings.token is None else f"?token={quote(settings.token, safe='')}"
            tell(f"http://{name}:{settings.port}/{token}")
            stop.wait()


@contextlib.contextmanager
def _asked_to_stop(stop: threading.Event) -> Iterator[None]:
    before = {one: signal.signal(one, lambda *_: stop.set()) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextlib.contextmanager
def _connected(scale: Scale) -> Iterator[Any]:
    # Read when ray is imported: no figures go to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "30")  # its 5 s end one on a crowded machine
    # Ray would run its processes at nice 15, beside whom a learner's 19, the end of the scale, takes a third of a core.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Ray would give each process one thread, with which PyTorch rounds otherwise than in a replay on this machine.
    os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
    try:
        import ray
        import ray.serve
    except ImportError as error:
        raise LivesamError(f"--ray needs Ray Serve ({error}): pip install 'livesam[scale]'") from error
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": APPLICATION}
    if scale.address == LOCAL:
        # Processes here share what cores there are; what Ray counts must not keep one from starting.
        cpus = max(os.cpu_count() or 1, scale.encoders + scale.ingresses)
        quiet |= {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    for left in reversed(range(TRIES)):
        try:
            ray.init(address=scale.address, **quiet)
            break
        except Exception as error:  # Ray raises Exception itself where a crowded machine took more than its 30 s
            ray.shutdown()
            if left == 0 or scale.address != LOCAL:
                raise LivesamError(f"Ray at {scale.address} cannot be used: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _running(ray: Any, settings: Settings, scale: Scale) -> Iterator[None]:
    from livesam.app.cluster.encoders import encoders_class
    from livesam.app.cluster.learners import Learners
    from livesam.app.cluster.sessions import sessions_class
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    if scale.address != LOCAL and APPLICATION in serve.status().applications:
        raise LivesamError(
            f"Ray at {scale.address} runs a Serve application {APPLICATION!r} already: stop that livesam serve, or, if "
            f"it was killed, run there: python -c \"from ray import serve; serve.delete('{APPLICATION}')\""
        )
    registry = scale.registry or str(settings.out / REGISTRY)
    limits, gpus = settings.limits, int(settings.opening.choice("encoder").device.startswith("cuda"))
    batch = batch_of(settings.opening)
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_concurrency=ANSWERS_AT_ONCE)(Learners)
    learners = [actor.remote(settings, registry, settings.out) for _ in range(scale.learners)]
    encoders = serve.deployment(
        name=ENCODERS, num_replicas=scale.encoders, max_ongoing_requests=limits.sessions * 2,
        ray_actor_options={"num_cpus": 1, "num_gpus": gpus},
    )(encoders_class(batch))  # fmt: skip
    sessions = serve.deployment(
        name=SESSIONS, num_replicas=scale.ingresses, max_ongoing_requests=limits.sessions + 200,
        graceful_shutdown_timeout_s=15, ray_actor_options={"num_cpus": 1, "resources": HEAD},
    )(sessions_class(limits.domains))  # fmt: skip
    found, replicas = encoders.bind(settings.opening), scale.encoders
    bound = sessions.bind(settings, images_of(settings), found, learners, registry, replicas)
    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": settings.host, "port": settings.port},
            logging_config={"log_level": "WARNING", "enable_access_log": False},
        )
        serve.run(bound, name=APPLICATION, route_prefix="/")
        yield
    except (RuntimeError, TimeoutError, ray.exceptions.RayError) as error:
        raise LivesamError(f"the server did not start: {error}; Ray's logs say more") from error
    finally:
        _end(serve, alone=scale.address == LOCAL)
        _end_learners(ray, learners)


def _end(serve: Any, alone: bool) -> None:
    """End our application, and Serve with it where nobody else has one."""
    if not alone:
        serve.delete(APPLICATION)
        if serve.status().applications:
            return
    serve.shutdown()


def _end_learners(ray: Any, learners: Sequence[Any]) -> None:
    """Let them learn and publish what was accepted last, for a few seconds; what they do not, is in the database."""
    from livesam.app.cluster.learners import LAST_LESSONS_S

    closing = [one.close.remote(LAST_LESSONS_S) for one in learners]
    with contextlib.suppress(Exception):  # one that has died, or hangs
        ray.wait(closing, num_returns=len(closing), timeout=2 * LAST_LESSONS_S)
    for one in learners:
        ray.kill(one)
