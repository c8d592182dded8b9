# SPDX-License-Identifier: Apache-2.0
"""A scripted session on a guest's console: log in, run commands, log out."""
from linux_guest import BOOT_SECONDS

PROMPT = r"# (\x1b\[6n)?$"  # the shell asks the terminal where it is


def login(console, seconds=BOOT_SECONDS):
    """As root, at the prompt of getty."""
    console.expect(r"login: ", seconds)
    console.send("root\n")
    console.expect(rf"root\r\n(?:.|\n)*{PROMPT}")


def command(console, line, wanted):
    """Types a line; its output has to be the regular expression `wanted`, as a line of its own."""
    console.send(line + "\n")
    found = console.expect(rf"\n({wanted})\r\n")
    console.expect(PROMPT)
    return found[1].decode()


def logout(console):
    """Ends the session; the next prompt for a name comes."""
    console.send("exit\n")
    console.expect(r"exit\r\n")


def kernel_log(console):
    """What dmesg prints."""
    console.send("dmesg; echo that is''all\n")
    log = console.expect(r"(?s)^(.*?)that isall\r\n")[1]
    console.expect(PROMPT)
    return log.decode(errors="replace").replace("\r", "")
