"""Making the next piece of data in another process while this one works on the last."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from typing import TypeVar

from .errors import ControllerError

_T = TypeVar("_T")


def produce(make: Callable[[], Iterable[_T]]) -> Iterator[_T]:
    """What ``make`` yields, made by a fork of this process. A piece is made while the one before it is worked on, no
    further ahead: the pipe holds none, so memory does not grow. Its ControllerErrors are raised here.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(make, sender), daemon=True)
    process.start()
    sender.close()
    try:
        while True:
            piece: tuple[_T] | None = _received(receiver)
            if piece is None:
                return
            yield piece[0]
    finally:
        receiver.close()
        process.terminate()
        process.join()


def _send(make: Callable[[], Iterable[object]], sender: Connection) -> None:
    try:
        for piece in make():
            sender.send((piece,))
        sender.send(None)
    except ControllerError as error:
        sender.send(error)


def _received(receiver: Connection) -> tuple[_T] | None:
    try:
        found: tuple[_T] | ControllerError | None = receiver.recv()
    except EOFError:
        raise ControllerError("the process that reads the metrics died; its error is above") from None
    if isinstance(found, ControllerError):
        raise found
    return found
