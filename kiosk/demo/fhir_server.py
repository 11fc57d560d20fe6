"""The demo's record server: FHIR R4 on loopback, everything in memory, with a page that shows what arrived.

    with DemoFhirServer() as server:
        server.base_url      # http://127.0.0.1:PORT/fhir
        server.gallery_url   # http://127.0.0.1:PORT/
        server.faults.set("drop-after-commit times=1 on=POST:/fhir")
        server.set_network(False)

To a client it is a real server: sockets, HTTP/1.1 keep-alive, dropped connections. It prints and logs
nothing.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from kiosk.demo.faults import Faults
from kiosk.demo.fhir_api import FhirApi
from kiosk.demo.fhir_http import HttpServer, Parts, RequestRecord
from kiosk.demo.fhir_rules import Json
from kiosk.demo.fhir_store import FhirStore
from kiosk.demo.gallery import Gallery
from kiosk.demo.patients import demo_patients
from kiosk.demo.visits import demo_visits

__all__ = ["DemoFhirServer", "RequestRecord", "demo_patients"]

MAX_BODY = 32 * 1024 * 1024


class DemoFhirServer:
    """The server; `start` and `stop` it, or use it as a context manager.

    patients: R4 Patient resources known at start (default: demo_patients()). visits: other resources known at
    start (default: demo_visits(), with the default patients). host: a loopback address, else
    ValueError. port: 0 takes a free one. max_body: bytes, above which 413 is answered. update_create: whether
    clients may choose the id of a new resource (CapabilityStatement updateCreate). max_data: characters of a
    Binary's base64 above which 400 is answered, as some servers do whose limit for bodies is larger; raw
    bytes are not concerned. signed: attachments are given back as addresses outside the FHIR base that are
    good without signing in (`storage_url`).
    """

    def __init__(
        self,
        patients: Iterable[Json] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        visits: Iterable[Json] | None = None,
        max_body: int = MAX_BODY,
        update_create: bool = True,
        max_data: int | None = None,
        signed: bool = False,
    ) -> None:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
        if not address.is_loopback:
            raise ValueError("the demo server binds to loopback addresses only")
        # Visits are the demo patients' own: whoever brings other patients brings those too.
        others = demo_visits() if patients is None and visits is None else visits or ()
        known = demo_patients() if patients is None else patients
        self.store = FhirStore(known, others=others, update_create=update_create, max_data=max_data)
        self.faults = Faults()
        self._parts = Parts(
            FhirApi(self.store, signed=signed),
            Gallery(self.store, self.faults),
            self.faults,
            max_body,
            records=deque(maxlen=10_000),
            crashes=deque(maxlen=100),
        )
        self._address = address
        self._port = port
        self._lock = threading.Lock()
        self._held: socket.socket | None = None
        self._http: HttpServer | None = None

    def start(self) -> Self:
        """Bind and listen. Raises OSError when the port is taken, RuntimeError when already started."""
        with self._lock:
            if self._held is not None:
                raise RuntimeError("the demo server is already started")
            # Bound as long as the server lives, and never listening: while the network is down it refuses
            # connections, and nobody's outgoing connection can take the port.
            self._held = self._bind()
            self._port = self._held.getsockname()[1]
            self.store.base_url = self.base_url
            self._http = self._listen()
        return self

    def stop(self) -> None:
        """Drop every connection, end every thread, close every socket. The data stays readable."""
        with self._lock:
            if self._http is not None:
                self._http.halt()
                self._http = None
            if self._held is not None:
                self._held.close()
                self._held = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def set_network(self, up: bool) -> None:
        """Down: refuse new connections and drop live ones. Up: listen again, same port, same data."""
        with self._lock:
            if self._held is None:
                raise RuntimeError("the demo server is not started")
            if up and self._http is None:
                self._http = self._listen()
            elif not up and self._http is not None:
                self._http.halt()
                self._http = None

    @property
    def network_up(self) -> bool:
        """Whether clients can connect."""
        return self._http is not None

    @property
    def gallery_url(self) -> str:
        """The page that shows what has arrived. Raises RuntimeError before the first start."""
        if self._port == 0:
            raise RuntimeError("the demo server has no port before it is started")
        host = f"[{self._address}]" if self._address.version == 6 else str(self._address)
        return f"http://{host}:{self._port}/"

    @property
    def base_url(self) -> str:
        """The FHIR base address. Raises RuntimeError before the first start."""
        return self.gallery_url + "fhir"

    @property
    def storage_url(self) -> str:
        """What signed addresses start with."""
        return self.gallery_url + "storage"

    @property
    def requests(self) -> list[RequestRecord]:
        """The last 10000 FHIR requests, oldest first."""
        return list(self._parts.records)

    @property
    def crashes(self) -> list[str]:
        """Names of the errors that no answer was foreseen for; tests want this to be empty."""
        return list(self._parts.crashes)

    def _listen(self) -> HttpServer:
        """A second socket on the port that `_held` keeps: SO_REUSEADDR allows it (socket(7))."""
        return HttpServer(self._bind(), self._parts)

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if self._address.version == 6 else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((str(self._address), self._port))
        except OSError:
            listener.close()
            raise
        return listener
