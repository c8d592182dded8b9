# SPDX-License-Identifier: Apache-2.0
"""Who listens on the host for what a guest connects by vsock: vsock_uds_path and a port."""
import select
import socket
import threading


class Peer(threading.Thread):
    """Listens at a path; an echo, or somebody who accepts and does not read."""

    def __init__(self, path, echoes=True, kind=socket.SOCK_STREAM):
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX, kind)
        self.listener.bind(path)
        self.listener.listen(1000)
        self.echoes = echoes

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.join()
        self.listener.close()

    def run(self):
        poll, socks = select.epoll(), {}
        poll.register(self.listener, select.EPOLLIN)
        while True:
            for fd, events in poll.poll():
                if fd == self.listener.fileno():
                    if events & select.EPOLLHUP:
                        return
                    sock, _ = self.listener.accept()
                    sock.setblocking(False)
                    socks[sock.fileno()] = sock
                    poll.register(sock, select.EPOLLIN if self.echoes else select.EPOLLHUP)
                elif not self.serve(socks[fd], events):
                    poll.unregister(fd)
                    socks.pop(fd).close()

    @staticmethod
    def serve(sock, events):
        """False at the end. What does not fit is lost: nobody here sends so much."""
        try:
            data = sock.recv(65536) if events & select.EPOLLIN else b""
            if data:
                sock.send(data)
            return data
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
