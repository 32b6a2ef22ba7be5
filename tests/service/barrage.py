"""Many hostile uploads sent to one service, and what lay around it before and after."""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

import httpx

from service.app import create_app
from service.settings import Settings


@dataclass
class Outcome:
    """The answers by name, and the names of what lay in the folder around the data folder."""

    answers: dict[str, httpx.Response]
    before: list[str]
    after: list[str]
    last: httpx.Response
    appeared: list[Path]


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def sent(around, template, url, uploads, last, **settings):
    """Send all of `uploads`, some at a time, then `last`: each a body and its parameters."""
    data = around / "data"
    (data / url.rpartition("/")[2]).mkdir(parents=True)
    shutil.copy(template, data / "lrtuner.db")
    app = create_app(Settings(data_dir=data, auth="open", **settings))
    here = set(Path.cwd().iterdir())

    async def send():
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://test", timeout=None) as client,
        ):
            before = tree(around)
            turns = asyncio.Semaphore(4)

            async def post(upload):
                body, parameters = upload
                async with turns:
                    return await client.post(url, content=body, params=parameters)

            answers = await asyncio.gather(*map(post, uploads.values()))
            after = tree(around)
            return dict(zip(uploads, answers, strict=True)), before, after, await post(last)

    answers, before, after, last_answer = asyncio.run(send())
    return Outcome(
        answers,
        [path for path in before if "lrtuner.db" not in path],
        [path for path in after if "lrtuner.db" not in path],
        last_answer,
        sorted(set(Path.cwd().iterdir()) - here),
    )
