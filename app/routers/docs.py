"""Where is the API described for people and programs? ``/docs`` and ``/openapi.json``, without any other host.

swagger-ui is vendored under ``assets/swagger-ui`` (npm: swagger-ui-dist; ``CHECKSUMS.sha256`` beside it).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Request
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse

from app.services.core.errors import NotFound

__all__ = ["router"]

FOLDER: Final = Path(__file__).parent.parent / "assets" / "swagger-ui"
MEDIA_TYPES: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "init.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
CACHED: Final = {"cache-control": "public, max-age=86400"}

PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Multiverse Inference Gateway: API</title>
<link rel="icon" type="image/png" href="docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
</head>
<body data-openapi-url="openapi.json">
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript. The description itself is at <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script src="docs/assets/init.js"></script>
</body>
</html>
"""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs() -> HTMLResponse:
    """Show the API's description, to read and to try."""
    return HTMLResponse(PAGE, headers={"content-security-policy": POLICY})


@router.get("/docs/assets/{name}")
async def asset(name: Annotated[str, PathParameter()]) -> FileResponse:
    """Give one of the files that the page is made of."""
    if name not in MEDIA_TYPES:
        message = "There is no such file."
        raise NotFound(message)
    return FileResponse(FOLDER / name, media_type=MEDIA_TYPES[name], headers=CACHED)


@router.get("/openapi.json")
async def openapi(request: Request) -> JSONResponse:
    """Give the OpenAPI document."""
    return JSONResponse(request.app.openapi())
