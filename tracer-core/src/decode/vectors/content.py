#!/usr/bin/env python3
"""Makes content.txt again: what named and a server of made-up answers said to dig, and what dig printed of it.

Needs root and Debian's bind9, bind9-dnsutils and iproute2. It runs in a network namespace of its own:

    unshare --net ./content.py > content.txt

Identifiers and cookies differ from run to run, signatures too.
"""

import glob
import os
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
NAMED, PROXY, MADE_UP = "127.0.0.1", "127.0.0.2", "127.0.0.3"

raw = {}


def listen(address, answer):
    """Answers on UDP port 53 of an address, and keeps the last query and answer."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))

    def serve():
        while True:
            query, client = server.recvfrom(65535)
            response = answer(query)
            raw["query"], raw["response"] = query, response
            server.sendto(response, client)

    threading.Thread(target=serve, daemon=True).start()


def forward(query):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
        upstream.settimeout(5)
        upstream.sendto(query, (NAMED, 53))
        return upstream.recv(65535)


# What the server of made-up answers says, by the first label of the name asked for: header flags beside QR, response
# code, and (type, class, TTL, data) of answers, authorities and additional records.
def opt(options=b"", size=1232, rcode_high=0, version=0, flags=0):
    return (41, size, rcode_high << 24 | version << 16 | flags, options)


def option(code, data):
    return struct.pack(">HH", code, len(data)) + data


def ede(code, text=b""):
    return option(15, struct.pack(">H", code) + text)


def soa(ttl, minimum):
    return (6, 1, ttl, b"\0\0" + struct.pack(">5I", 1, 2, 3, 4, minimum))


AA, TC, RD, RA, AD, CD = 0x400, 0x200, 0x100, 0x80, 0x20, 0x10
SERVFAIL, NXDOMAIN = 2, 3
NSEC3 = bytes([1, 1, 0, 10, 4, 0xAA, 0xBB, 0xCC, 0xDD, 20]) + bytes(range(20)) + b"\0\6\x40\0\0\0\0\3"
NSEC3_BARE = bytes([1, 0, 0, 0, 0, 20]) + bytes(range(20))
TSIG = b"\x0bhmac-sha256\0" + struct.pack(">HIHH", 0, 1700000000, 300, 4) + b"abcd" + struct.pack(">HHH", 4711, 18, 6) + bytes(6)
MADE = {
    "flags": (AA | TC | RD | RA | AD | CD, 0, [], [], []),
    "noflags": (0, 0, [], [], []),
    "ede": (RA, SERVFAIL, [], [], [opt(ede(22, b"at delegation example.com."))]),
    "edes": (RA, SERVFAIL, [], [], [opt(b"".join(ede(code) for code in range(12)))]),
    "edes2": (RA, SERVFAIL, [], [], [opt(b"".join(ede(code) for code in range(12, 25)))]),
    "unassigned": (RA, SERVFAIL, [], [], [opt(ede(49152, b"site \"policy\" \\ 7"))]),
    "options": (
        RA,
        0,
        [],
        [],
        [
            opt(
                option(3, b"gpdns-fra")
                + option(8, bytes([0, 1, 24, 0, 192, 0, 2]))
                + option(10, bytes(range(16)))
                + option(65001, b"\xc0\xff\xee"),
                size=4096,
                flags=0x8000,
            )
        ],
    ),
    "subnet6": (RA, 0, [], [], [opt(option(8, bytes([0, 2, 56, 48, 0x20, 1, 0xD, 0xB8, 0, 0, 0])))]),
    "subnet0": (RA, 0, [], [], [opt(option(8, bytes([0, 0, 0, 0])))]),
    "badcookie": (RA, 7, [], [], [opt(rcode_high=1)]),
    "rcode": (RA, 8, [], [], [opt(rcode_high=187)]),
    "nsec3": (AA, NXDOMAIN, [], [(50, 1, 60, NSEC3)], []),
    "nsec3-bare": (AA, NXDOMAIN, [], [(50, 1, 60, NSEC3_BARE)], []),
    "soa-ttl-less": (AA, NXDOMAIN, [], [soa(30, 300)], []),
    "soa-minimum-less": (AA, NXDOMAIN, [], [soa(3600, 7)], []),
    "aname": (AA, 0, [(65305, 1, 60, b"\1a\7example\0")], [], []),
    "tsig": (AA, 0, [], [], [(250, 255, 0, TSIG)]),
    "class": (AA, 0, [(16, 3, 0, b"\4text")], [], []),
}


def labels(count):
    """A name of so many labels of one octet."""
    return b"".join(b"\1" + bytes([97 + n % 26]) for n in range(count)) + b"\0"


MADE["labels"] = (AA, 0, [(12, 1, 60, labels(127))], [], [])
MADE["octets"] = (AA, 0, [(12, 1, 60, b"".join(b"\x3f" + b"\x07" * 63 for _ in range(3)) + b"\x3d" + b"z" * 61 + b"\0")], [], [])


def made_up(query):
    first = query[13 : 13 + query[12]].decode()
    flags, rcode, *sections = MADE[first]
    end = query.index(b"\0", 12) + 5
    out = query[:2] + struct.pack(">5H", 0x8000 | flags | rcode, 1, *map(len, sections))
    out += query[12:end]
    for section in sections:
        for rtype, rclass, ttl, data in section:
            # An NSEC3 record stands under a hash.
            owner = {41: b"\0", 250: b"\3key\0", 50: b"\x20" + b"0" * 32 + b"\xc0\x0c"}.get(rtype, b"\xc0\x0c")
            out += owner + struct.pack(">HHIH", rtype, rclass, ttl, len(data)) + data
    return out


def dig(server, arguments):
    raw.clear()
    options = "+norecurse +nosplit +nostats +nocmd +tries=1 +timeout=3 +ignore".split()
    command = ["dig", f"@{server}", *options, *shlex.split(arguments)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if ";; Got answer:" not in text:
        sys.exit(f"dig {arguments} printed:\n{text}")
    return text[text.index(";; Got answer:") :]


def case(server, arguments):
    text = dig(server, arguments)
    print(f"case {arguments}")
    print(f"query {raw['query'].hex()}")
    print(f"response {raw['response'].hex()}")
    header = re.search(r"opcode: (\S+), status: (\S+), id: \d+\n;; flags:([^;]*);", text)
    print(f"opcode {header[1]}")
    print(f"status {header[2]}")
    print(f"flags {header[3].strip()}".rstrip())
    section = None
    for line in text.splitlines():
        heading = re.fullmatch(r";; (.*) (PSEUDO)?SECTION:", line)
        if heading:
            section = heading[1]
        elif not line:
            section = None
        elif section == "OPT":
            print(f"opt {line.removeprefix('; ')}")
        elif section in ("QUESTION", "ZONE"):
            print(f"question {' '.join(line.removeprefix(';').split())}")
        elif section in ("ANSWER", "AUTHORITY", "TSIG"):
            # Owner, TTL, class, type; the data may have spaces of its own.
            owner, ttl, rclass, rtype, data = line.split(None, 4)
            print(f"{section.lower()} {owner} {ttl} {rclass} {rtype} {data}")
    print()


def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    work = tempfile.mkdtemp()
    shutil.copy(f"{HERE}/content.zone", work)
    with open(f"{work}/signed", "w") as zone:
        zone.write("$ORIGIN signed.test.\n$TTL 300\n@ SOA ns h 7 7200 1800 86400 60\n@ NS ns\nns A 127.0.0.1\nx TXT x\n")
    for kind in ("-fKSK", "-C"):
        flags = [kind] if kind == "-fKSK" else []
        subprocess.run(["dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", *flags, "-K", work, "signed.test"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["dnssec-signzone", "-q", "-S", "-K", work, "-d", work, "-3", "aabbcc", "-o", "signed.test", f"{work}/signed"], check=True, stdout=subprocess.DEVNULL)
    with open(f"{work}/named.conf", "w") as conf:
        conf.write(
            f"""options {{ directory "{work}"; pid-file none; session-keyfile none; recursion no; server-id "ns-1"; version "named";
  listen-on {{ {NAMED}; }}; listen-on-v6 {{ none; }}; check-names primary ignore; check-integrity no;
  minimal-responses no-auth; allow-query {{ any; }}; }};
controls {{ }};
zone "vec.test" {{ type primary; file "content.zone"; }};
zone "signed.test" {{ type primary; file "signed.signed"; }};
"""
        )
    named = subprocess.Popen(["named", "-f", "-c", f"{work}/named.conf"], stderr=subprocess.DEVNULL)
    try:
        listen(PROXY, forward)
        listen(MADE_UP, made_up)
        for _ in range(50):
            time.sleep(0.1)
            if subprocess.run(["dig", f"@{NAMED}", "+tries=1", "+timeout=1", "vec.test", "SOA"], capture_output=True).returncode == 0:
                break
        print("# Messages between dig and named, and answers made up for dig, by content.py: what dig printed of them.")
        print()
        zone = open(f"{HERE}/content.zone").read()
        types = {}
        for line in zone.splitlines()[5:]:
            owner, rtype = line.split()[:2]
            if owner != "@" and (owner, rtype) not in types:
                types[owner, rtype] = None
        for owner, rtype in types:
            if owner in ("sub", "ns.sub") or owner.startswith("chain") and owner != "chain":
                continue
            wanted = "A" if rtype == "CNAME" else rtype
            owner = owner.replace("*", "any")
            # Of LOC we know the name only.
            unknown = "+unknownformat " if rtype == "LOC" else ""
            case(PROXY, f"{unknown}'{owner}.vec.test' {wanted}")
        for arguments in [
            "sub.vec.test DS",
            "x.sub.vec.test A",
            "a.vec.test AAAA",
            "nothere.vec.test A",
            "dangling.vec.test A",
            "below.dname.vec.test A",
            "mIxEdCaSe.VeC.tEsT A",
            "other.example A",
            "+dnssec +nsid +nocookie x.signed.test TXT",
            "+dnssec +nocookie nothere.signed.test A",
            "+dnssec +nocookie x.signed.test A",
            "+dnssec +nocookie signed.test DNSKEY",
            "+noedns a.vec.test A",
            "+edns=1 +noednsneg a.vec.test A",
            "+opcode=NOTIFY vec.test SOA",
            "+opcode=STATUS a.vec.test A",
            "+opcode=UPDATE vec.test SOA",
            "+opcode=IQUERY a.vec.test A",
            "+opcode=6 a.vec.test A",
            "-c CH -t TXT version.bind",
            "+header-only",
            "+notcp vec.test ANY",
        ]:
            case(PROXY, arguments)
        for name in MADE:
            case(MADE_UP, f"+noedns {'-c CH -t TXT' if name == 'class' else '-t A'} {name}.made.up")
    finally:
        named.send_signal(signal.SIGTERM)
        named.wait()
        shutil.rmtree(work)


main()
