"""`/`: the live page's shell, one static file without data. It may run its own script, and talk to us only."""

import base64
import hashlib
import re
from importlib.resources import files

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

router = APIRouter()

_HTML = files("sensor_platform.api").joinpath("live.html").read_text("utf-8")


def _hashes(tag: str) -> str:
    """The content's hashes, as a policy names inline code."""
    blocks = re.findall(rf"<{tag}>(.*?)</{tag}>", _HTML, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(block.encode()).digest()).decode() for block in blocks]
    return " ".join(f"'sha256-{digest}'" for digest in digests)


_SCRIPTS, _STYLES = _hashes("script"), _hashes("style")


@router.get("/", response_class=HTMLResponse)
async def page(request: Request) -> Response:
    """The shell; the token comes in the link's fragment, which browsers never send."""
    policy = (
        f"default-src 'none'; script-src {_SCRIPTS}; style-src {_STYLES}; img-src data:; "
        f"connect-src 'self' ws://{request.url.netloc}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return HTMLResponse(_HTML, headers=headers)
