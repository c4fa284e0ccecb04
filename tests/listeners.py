"""Small servers that are no memcached, for whoever has to say so; all on loopback, and gone after the `with`."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.servers import PATIENCE_S


@contextmanager
def listener(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that gives every connection to `serve`; its port. What goes wrong with a socket is passed over."""

    def accept() -> None:
        while True:
            try:
                door, _ = ear.accept()
            except OSError:
                return
            with door, suppress(OSError):
                door.settimeout(PATIENCE_S)
                serve(door)

    with socket.create_server(("127.0.0.1", 0)) as ear:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield ear.getsockname()[1]
        finally:
            with suppress(OSError):
                ear.shutdown(socket.SHUT_RDWR)
            ear.close()
            thread.join(PATIENCE_S)


def says(*answers: bytes) -> Callable[[socket.socket], None]:
    """One of `answers` after each thing that comes, whatever it is; then the end."""

    def serve(door: socket.socket) -> None:
        for answer in answers:
            if not door.recv(65_536):
                return
            door.sendall(answer)

    return serve


def speaks_tls(door: socket.socket) -> None:
    """A TLS server, as far as somebody gets who does not speak TLS: it needs no certificate for that."""
    with suppress(OSError), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_socket(door, server_side=True) as secure:
        secure.recv(1)


@contextmanager
def web(headers: Sequence[tuple[str, str]] = (), certificate: Path | None = None) -> Iterator[str]:
    """A web server whose pages have these headers, with https if there is a certificate; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"hi")

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError):
                super().handle()

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Who does not like the certificate hangs up."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(PATIENCE_S)


def self_signed(folder: Path) -> Path:
    """A new certificate for 127.0.0.1 and its key, in one file."""
    file, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "3650"),
            *("-keyout", str(key), "-out", str(file)),
        ],
        check=True,
        capture_output=True,
    )
    file.write_bytes(file.read_bytes() + key.read_bytes())
    return file
