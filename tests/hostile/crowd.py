#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A crowd of clients that use few names at random, on two reactors, and leave at any moment: every
call is answered or its connection is gone, and nothing is left of anybody in the end."""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import daemon  # noqa: E402
import wire  # noqa: E402

CLIENTS, NAMES, ROUNDS = 10, ["a", "b", "c"], 400


class Person:
    """A client without a plan."""

    def __init__(self, host, chance):
        self.host, self.chance = host, chance
        self.client = wire.Client(host.path, daemon.PATIENCE)
        self.lifecycles, self.guests, self.pending = [], [], {}

    def call(self, obj, method, payload=b"", opens=None):
        """One call, unless too many are pending; what it is to open is added to that list."""
        if len(self.pending) < 60:
            self.pending[self.client.start(obj, method, payload)] = obj
            if opens is not None:
                opens.append(self.client.next_id)

    def named(self, name, new=True):
        payload = wire.Writer()
        return (payload.u32(self.client.new_id()).u32(0) if new else payload).string(name)

    def act(self):
        """One message, whatever the state of things may be."""
        chance, client = self.chance, self.client
        name = chance.choice(NAMES)
        config = wire.builtin(guest_memory=8 << 20, cpus=chance.choice([1, 1, 2, 0]),
                              **chance.choice([{}, {"home_core": 0}, {"home_core": 1}]))
        what = chance.randrange(14)
        if what == 0 or not self.lifecycles:
            self.call(0, wire.OPEN_LIFECYCLE, self.named(name).data, self.lifecycles)
        elif what == 1:
            self.call(0, wire.LAUNCH, self.named(name).raw(config).data, self.guests)
        elif what == 2:
            self.call(0, wire.CONNECT, self.named(name).data, self.guests)
        elif what == 3:
            self.call(0, wire.FORCE_SHUTDOWN, self.named(name, False).data)
        elif what == 4:
            self.call(0, chance.choice([wire.INFO, wire.LIST, wire.METRICS]))
        elif what == 5:
            self.call(0, wire.GET_INFO, self.named(name, False).data)
        elif what == 6:
            objects = chance.choice([self.lifecycles, self.guests])
            if objects:
                client.send(objects.pop(chance.randrange(len(objects))), wire.CLOSE)
        elif what in (7, 8) and self.guests:
            self.call(chance.choice(self.guests), wire.GET_SERIAL)
        else:
            self.act_on(chance.choice(self.lifecycles), config)

    def act_on(self, lifecycle, config):
        what = self.chance.randrange(6)
        if what < 2:
            self.call(lifecycle, wire.CREATE, config)
        elif what == 2:
            guest = self.client.new_id()
            self.client.send(lifecycle, wire.BIND, wire.Writer().u32(guest).u32(0).data)
            self.guests.append(guest)
        elif what < 5:
            self.call(lifecycle, wire.RUN)
        else:
            self.call(lifecycle, wire.STOP)

    def take_in(self, timeout=0):
        """What has come; a call on an object that was closed by the daemon is never answered."""
        client = self.client
        client.pump(timeout)
        for event in client.events:
            for objects in self.lifecycles, self.guests:
                if event.obj in objects:
                    objects.remove(event.obj)
            self.pending = {t: obj for t, obj in self.pending.items() if obj != event.obj}
        client.events.clear()
        for txid, message in client.replies.items():
            self.pending.pop(txid, None)
            for fd in message.fds:
                os.close(fd)
        client.replies.clear()

    def leave(self):
        for fd in [fd for message in self.client.replies.values() for fd in message.fds]:
            os.close(fd)
        self.client.close()


class Crowd(daemon.Case):
    ARGUMENTS = ("--cores", ",".join(str(c) for c in sorted(os.sched_getaffinity(0))[:2]))

    def setUp(self):
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest("this process may use one CPU only")
        super().setUp()
        self.before = self.fds_at_rest()

    def settle(self, people):
        """Ends every guest, so that no Run is pending any more."""
        for name in NAMES:
            self.client.force_shutdown(name)
        for person in people:
            self.until(lambda p=person: p.take_in(0.01) or self.quiet(p))

    def quiet(self, person):
        for name in NAMES:
            self.client.force_shutdown(name)
        return not person.pending

    def newcomer(self, chance):
        person = Person(self.daemon, chance)
        self.addCleanup(person.client.close)
        return person

    def crowd(self, seed):
        chance = random.Random(seed)
        people = [self.newcomer(chance) for _ in range(CLIENTS)]
        for _ in range(ROUNDS):
            i = chance.randrange(CLIENTS)
            for _ in range(chance.randrange(1, 6)):
                people[i].act()
            if chance.random() < 0.5:
                people[i].take_in()
            if chance.random() < 0.03:
                people[i].leave()
                people[i] = self.newcomer(chance)
        self.settle(people)
        for person in people:
            person.leave()
        self.until(lambda: all(g["status"] in (1, 5) for g in self.client.list()))
        self.until(lambda: self.daemon.fds() == self.before)

    def test_one_crowd_after_the_other(self):
        for seed in range(6):
            with self.subTest(seed=seed):
                self.crowd(seed)


if __name__ == "__main__":
    daemon.main()
