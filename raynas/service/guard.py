"""What stands before a web application: who has no token, or a body too large, is sent away before the body is read."""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import HTTPException
from fastapi.responses import JSONResponse

LARGEST_MB = 32  # of a request's body, 2**20 bytes each: as Python's lists it takes some twenty times that

Message = MutableMapping[str, Any]  # of ASGI, and so are the next three
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class Guard:
    """An application around one of http: 401 without the token that `token()` returns, 413 above `largest` bytes."""

    def __init__(self, app: Application, token: Callable[[], str], largest: int = LARGEST_MB * 2**20):
        self.app, self.token, self.largest = app, token, largest

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif (refusal := self._refusal(dict(scope["headers"]))) is not None:
            await refusal(scope, receive, send)
        else:
            await self.app(scope, self._counted(receive), send)

    def _refusal(self, headers: dict[bytes, bytes]) -> JSONResponse | None:
        """What the headers alone are answered with."""
        if not hmac.compare_digest(headers.get(b"authorization", b""), f"Bearer {self.token()}".encode()):
            said = {"detail": "carry the token: Authorization: Bearer …"}
            return JSONResponse(said, 401, {"WWW-Authenticate": "Bearer"})
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self.largest:
            return JSONResponse({"detail": self._too_large()}, 413)
        return None

    def _counted(self, receive: Receive) -> Receive:
        """As `receive`, up to `largest` bytes: not every client says before how many will come."""
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.largest:
                raise HTTPException(413, self._too_large())
            return message

        return counted

    def _too_large(self) -> str:
        return f"a request has {self.largest / 2**20:g} MiB at most; send fewer images at once"
