#!/usr/bin/python3
"""Peers of a test that are not Clari, on loopback: peers.py KIND PORT_FILE LOG [PORT [CERTIFICATE KEY]]

  full   listens, and its queue is full: a connection is not refused, it just does not come about
  mute   takes connections, and never says a word
  proxy  an HTTP proxy, for absolute URLs and CONNECT; the log has each request's head
  denial a proxy that refuses everything with the HTTP status given in place of PORT
  relay  passes bytes on to PORT; LOG.command says once what becomes of the connections that there are: silent, close,
         reset; or closing, resetting: with the next byte that comes from the client.  Then it is gone, and LOG.count
         says how many these were
  both   speaks TLS, offers HTTP/2 and HTTP/1.1, and passes on to PORT what comes by HTTP/1.1; the log has what was chosen
  dns    names that end in .invalid are not there, but for slow*.invalid, for which no answer comes; on port 53

It goes with its parent."""
import os
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse


def watch_parent(parent):
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(0)


def forward(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except (OSError, ValueError):   # of a socket that is closed
        pass


def head_of(client):
    head = b""
    while b"\r\n\r\n" not in head:
        data = client.recv(65536)
        if not data:
            return None, b""
        head += data
    head, _, rest = head.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def serve_proxy(client, log, denial):
    head, rest = head_of(client)
    if head is None:
        return
    with open(log, "a", encoding="latin-1") as file:
        file.write(head + "\n\n")
    if denial:
        client.sendall(f"HTTP/1.1 {denial} Denied\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode("ascii"))
        client.close()
        return
    method, target, version = head.split("\r\n")[0].split(" ")
    if method == "CONNECT":
        host, _, port = target.rpartition(":")
        server = socket.create_connection((host.strip("[]"), int(port)))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        url = urllib.parse.urlsplit(target)
        server = socket.create_connection((url.hostname, url.port))
        # one request a connection: the next may be for another host
        lines = [line for line in head.split("\r\n")[1:] if not line.lower().startswith(("proxy-", "connection:"))]
        path = target[target.index(url.netloc) + len(url.netloc):]
        server.sendall("\r\n".join([f"{method} {path} {version}", *lines, "Connection: close", "", ""]).encode("latin-1"))
    server.sendall(rest)
    threading.Thread(target=forward, args=(client, server), daemon=True).start()
    forward(server, client)
    client.close()


class Relayed:
    """A connection through the relay."""

    def __init__(self, client, port):
        self.client, self.server = client, socket.create_connection(("127.0.0.1", port))
        self.fate, self.over, self.ending = None, False, threading.Lock()
        for source, sink in ((self.client, self.server), (self.server, self.client)):
            threading.Thread(target=self.forward, args=(source, sink), daemon=True).start()

    def forward(self, source, sink):
        try:
            while data := source.recv(65536):
                if self.fate == "silent":
                    continue
                if self.fate in ("closing", "resetting") and source is self.client:
                    break
                sink.sendall(data)
        except OSError:
            pass
        if self.fate != "silent":
            self.end()

    def suffer(self, fate):
        self.fate = fate
        if fate in ("close", "reset"):
            self.end()

    def end(self):
        with self.ending:
            if self.over:
                return
            self.over = True
            if self.fate in ("reset", "resetting"):
                self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            for sock, how in ((self.server, socket.SHUT_RDWR), (self.client, socket.SHUT_RD)):
                try:
                    sock.shutdown(how)      # or else close() waits for the thread that is in recv()
                except OSError:
                    pass
                sock.close()


def obey(log, relayed):
    while True:
        time.sleep(0.01)
        if not os.path.exists(log + ".command"):
            continue
        with open(log + ".command", encoding="ascii") as file:
            fate = file.read().strip()
        present = [connection for connection in relayed if not connection.over and connection.fate is None]
        for connection in present:
            connection.suffer(fate)
        with open(log + ".count", "w", encoding="ascii") as file:
            file.write(str(len(present)))
        os.remove(log + ".command")


def serve_both(client, port, log, tls):
    try:
        client = tls.wrap_socket(client, server_side=True)
    except OSError:
        return
    chosen = client.selected_alpn_protocol()
    with open(log, "a", encoding="ascii") as file:
        file.write(f"{chosen}\n")
    if chosen == "h2":
        client.close()
        return
    server = socket.create_connection(("127.0.0.1", port))
    threading.Thread(target=forward, args=(client, server), daemon=True).start()
    forward(server, client)
    client.close()


def tls_of_both(certificate, key):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    tls.set_alpn_protocols(["h2", "http/1.1"])
    return tls


def answer_dns(listener):
    while True:
        query, sender = listener.recvfrom(4096)
        if query[13:17].lower() != b"slow":
            listener.sendto(query[:2] + b"\x81\x83" + query[4:6] + bytes(6) + query[12:], sender)


def main():
    kind, port_file, log, *more = sys.argv[1:]
    threading.Thread(target=watch_parent, args=(os.getppid(),), daemon=True).start()
    if kind == "dns":
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind(("127.0.0.1", 53))
    else:
        listener = socket.create_server(("127.0.0.1", 0), backlog=0 if kind == "full" else 128)
    kept = []
    if kind == "full":
        for _ in range(8):
            kept.append(socket.socket())
            kept[-1].setblocking(False)
            kept[-1].connect_ex(listener.getsockname())
    with open(port_file + ".new", "w", encoding="ascii") as file:
        file.write(str(listener.getsockname()[1]))
    os.rename(port_file + ".new", port_file)
    if kind == "dns":
        answer_dns(listener)
    while kind == "full":
        time.sleep(60)
    if kind == "relay":
        threading.Thread(target=obey, args=(log, kept), daemon=True).start()
    if kind == "both":
        tls = tls_of_both(*more[1:])
    while True:
        client = listener.accept()[0]
        if kind in ("proxy", "denial"):
            threading.Thread(target=serve_proxy, args=(client, log, more[0] if more else None), daemon=True).start()
        elif kind == "both":
            threading.Thread(target=serve_both, args=(client, int(more[0]), log, tls), daemon=True).start()
        else:
            kept.append(Relayed(client, int(more[0])) if kind == "relay" else client)


if __name__ == "__main__":
    main()
