"""Crowds in processes of their own, each with a source address of its own, that do the same at the same time."""

import dataclasses
import multiprocessing

from .crowd import Crowd, jain


@dataclasses.dataclass
class Part:
    """What one crowd, or all of them, have to tell of what they have just done."""

    took: float
    latencies_us: list
    failures: list = dataclasses.field(default_factory=list)
    answers: list = dataclasses.field(default_factory=list)  # by tenant
    clients: list = dataclasses.field(default_factory=list)  # answers of each
    errors: int = 0
    late: int = 0

    @classmethod
    def whole(cls, parts):
        join = lambda lists: [each for one in lists for each in one]  # noqa: E731
        return cls(
            took=max(part.took for part in parts),
            latencies_us=join(part.latencies_us for part in parts),
            failures=join(part.failures for part in parts),
            answers=[sum(each) for each in zip(*(part.answers for part in parts))],
            clients=join(part.clients for part in parts),
            errors=sum(part.errors for part in parts),
            late=sum(part.late for part in parts),
        )

    @property
    def work(self):
        return sum(self.answers)

    def fairness(self):
        return jain(self.answers)


class Crowds:
    """While the block runs."""

    def __init__(self, port, user, name, clients, tenants, processes):
        self._whole = (port, user, name, clients, tenants)
        self._count = processes
        self._pipes, self._processes = [], []

    def __enter__(self):
        for number in range(self._count):
            ours, theirs = multiprocessing.Pipe()
            process = multiprocessing.Process(target=self._generate, args=(number, ours, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        return self

    def __exit__(self, *_):
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join()

    def log_in(self, together):
        """`together` at a time, over all processes."""
        return self._all("log_in", max(1, together // self._count))

    def think(self, seconds, every):
        return self._all("think", seconds, every)

    def ask_at_once(self):
        return self._all("ask_at_once")

    def _all(self, *order):
        for pipe in self._pipes:
            pipe.send(order)
        return Part.whole([self._part_of(pipe) for pipe in self._pipes])

    @staticmethod
    def _part_of(pipe):
        try:
            part = pipe.recv()
        except EOFError:
            part = "a generator has ended"
        if isinstance(part, str):
            raise RuntimeError(part)
        return part

    def _generate(self, number, parents_end, pipe):
        """What a generator's process does until the other end is closed, everywhere."""
        parents_end.close()
        port, user, name, clients, tenants = self._whole
        first, end = (clients * n // self._count for n in (number, number + 1))
        crowd = Crowd(
            port, user, name, end - first, tenants, first=first, seed=number + 1, source=f"127.0.0.{number + 2}"
        )
        while True:
            try:
                what, *arguments = pipe.recv()
            except EOFError:
                return crowd.close()
            try:
                pipe.send(self._done(crowd, what, getattr(crowd, what)(*arguments)))
            except Exception as error:
                pipe.send(f"{what}: {error}")

    @staticmethod
    def _done(crowd, what, took):
        if what == "log_in":
            return Part(took, crowd.logins_us, failures=crowd.failures)
        clients = [client.answers for client in crowd.clients]
        return Part(took, crowd.latencies_us, [], crowd.answers, clients, crowd.errors, crowd.late)
