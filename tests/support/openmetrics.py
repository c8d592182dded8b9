# SPDX-License-Identifier: Apache-2.0
"""A strict parser of OpenMetrics 1.0 text, for tests: what a scraper may choke on is an error here.

parse(text) gives {family name: Family}.
"""
import re

TYPES = {"counter": ["_total", "_created"], "gauge": [""], "info": ["_info"], "stateset": [""],
         "unknown": [""]}
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?([eE][+-]?\d+)?|Inf|NaN)")


class FormatError(Exception):
    pass


class Family:
    def __init__(self, name):
        self.name, self.type, self.unit, self.help = name, None, None, None
        self.samples = {}  # {(suffix, ((label, value), …)): number}

    def value(self, **labels):
        """The one sample with exactly these labels."""
        wanted = tuple(sorted(labels.items()))
        (value,) = [v for (_, got), v in self.samples.items() if got == wanted]
        return value

    def check(self):
        if not self.type or not self.help:
            raise FormatError(f"{self.name} has no type or no help")
        if self.unit and not self.name.endswith("_" + self.unit):
            raise FormatError(f"{self.name} does not end in its unit {self.unit}")
        for word in "bytes", "seconds", "ratio":
            if self.name.endswith("_" + word) and self.unit != word:
                raise FormatError(f"{self.name} does not say its unit")
        if self.name.endswith("_total"):
            raise FormatError(f"{self.name}: the suffix is for samples")
        if not self.name.startswith("ringvisor_"):
            raise FormatError(f"{self.name} does not tell whose it is")
        if self.type == "stateset":
            for _, labels in self.samples:
                if self.name not in dict(labels):
                    raise FormatError(f"{self.name}: a state without its label")


def parse_labels(text, line):
    labels, at = [], 0
    while at < len(text):
        found = LABEL.match(text, at)
        if not found:
            raise FormatError(f"labels: {line}")
        labels.append((found[1], found[2]))
        at = found.end()
        if at < len(text):
            if text[at] != "," or at + 1 == len(text):
                raise FormatError(f"labels: {line}")
            at += 1
    if len(dict(labels)) != len(labels):
        raise FormatError(f"a label twice: {line}")
    return tuple(sorted(labels))


def parse_sample(family, line):
    name = NAME.match(line)
    suffix = name[0][len(family.name):] if family and name[0].startswith(family.name) else None
    if suffix not in TYPES.get(family.type if family else None, []):
        raise FormatError(f"a sample outside of its family: {line}")
    rest, labels = line[name.end():], ()
    if rest.startswith("{"):
        inner, _, rest = rest[1:].rpartition("}")
        labels = parse_labels(inner, line)
    if not rest.startswith(" ") or not NUMBER.fullmatch(rest[1:]):
        raise FormatError(f"a value: {line}")
    if (suffix, labels) in family.samples:
        raise FormatError(f"a sample twice: {line}")
    value = float(rest[1:])
    if family.type == "counter" and value < 0:
        raise FormatError(f"a negative counter: {line}")
    family.samples[suffix, labels] = value


def parse(text):
    families, family = {}, None
    if not text.endswith("# EOF\n"):
        raise FormatError("no # EOF at the end")
    for line in text[:-len("# EOF\n")].splitlines():
        if not line.startswith("#"):
            parse_sample(family, line)
            continue
        mark, keyword, name, *rest = line.split(" ", 3)
        if mark != "#" or keyword not in ("TYPE", "UNIT", "HELP") or not NAME.fullmatch(name):
            raise FormatError(f"metadata: {line}")
        if not family or family.name != name:
            if name in families:
                raise FormatError(f"{name} comes in two places")
            family = families[name] = Family(name)
        field = keyword.lower()
        if family.samples or getattr(family, field) or not rest:
            raise FormatError(f"metadata out of place: {line}")
        if field == "type" and rest[0] not in TYPES:
            raise FormatError(f"type: {line}")
        setattr(family, field, rest[0])
    for one in families.values():
        one.check()
    return families
