"""Sends each result to every socket."""

import asyncio
import os

import redis.asyncio
from websockets.asyncio.server import ServerConnection, broadcast, serve


async def main() -> None:
    """Serves forever."""
    sockets: set[ServerConnection] = set()

    async def keep(socket: ServerConnection) -> None:
        sockets.add(socket)
        try:
            await socket.wait_closed()
        finally:
            sockets.remove(socket)

    async with serve(keep, "0.0.0.0", 8000), redis.asyncio.Redis(host=os.environ["QUEUE_HOST"]).pubsub() as results:
        await results.subscribe("results")
        async for message in results.listen():
            if message["type"] == "message":
                broadcast(sockets, message["data"].decode())


if __name__ == "__main__":
    asyncio.run(main())
