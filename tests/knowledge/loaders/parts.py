"""What holds for the parts of any document, and a PDF from its objects."""

from collections.abc import Mapping, Sequence
from struct import pack

from agentkit.documents import Document


def assert_in_order(document: Document) -> None:
    ends = [0]
    for part in document.parts:
        assert ends[-1] <= part.start <= part.end
        ends.append(part.end)
    assert ends[-1] <= len(document.text)


def texts(document: Document) -> list[str]:
    return [document.text[part.start : part.end] for part in document.parts]


def pdf_file(objects: Sequence[str]) -> bytes:
    """A PDF file; the first object is its catalog."""
    written, places = b"%PDF-1.4\n", list[int]()
    for at, item in enumerate(objects, 1):
        places.append(len(written))
        written += f"{at} 0 obj\n{item}\nendobj\n".encode()
    entries = "".join(f"{place:010} 00000 n \n" for place in places)
    table = f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n{entries}"
    end = f"trailer\n<</Root 1 0 R/Size {len(places) + 1}>>\nstartxref\n{len(written)}\n%%EOF\n"
    return written + (table + end).encode()


def compound_file(streams: Mapping[str, bytes]) -> bytes:
    """A compound file ([MS-CFB]) of streams by their path with /, each padded with blanks to a size
    that needs no small sectors."""
    size, end, free = 512, 0xFFFFFFFE, 0xFFFFFFFF
    paths = sorted({path[:at] for path in (f"{p}/" for p in streams) for at in _ends(path)})
    numbers = {path: at for at, path in enumerate(paths, 1)}
    sectors, table = list[bytes](), list[int]()

    def chain(data: bytes) -> int:
        first, count = len(table), -(-len(data) // size)
        sectors.append(data.ljust(count * size))
        table.extend([*range(first + 1, first + count), end])
        return first

    def entry(name: str, kind: int, right: int, child: int, start: int, length: int) -> bytes:
        wide = (name + "\0").encode("utf-16-le")
        head = wide.ljust(64, b"\0") + pack("<HBBIII", len(wide), kind, 1, free, right, child)
        return head + bytes(36) + pack("<IQ", start, length)

    below = {
        parent: [p for p in paths if p.rpartition("/")[0] == parent] for parent in ["", *paths]
    }
    entries = [entry("Root Entry", 5, free, numbers[below[""][0]], end, 0)]
    for path in paths:
        siblings = below[path.rpartition("/")[0]]
        later = [numbers[p] for p in siblings[siblings.index(path) + 1 :]]
        children = [numbers[p] for p in below[path]]
        data = streams.get(path)
        content = b"" if data is None else data.ljust(4096)
        entries.append(
            entry(
                path.rpartition("/")[2], 1 if data is None else 2, (later or [free])[0],
                (children or [free])[0], chain(content) if content else end, len(content),
            )
        )  # fmt: skip
    directory = chain(b"".join(entries).ljust(-(-len(entries) // 4) * size, b"\0"))
    listed = len(table)
    table += [0xFFFFFFFD] + [free] * (127 - listed)
    mark = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    sizes = (0x3E, 3, 0xFFFE, 9, 6, 0, 1, directory, 0, 4096, end, 0, end, 0)
    head = pack("<8s16xHHHHH6xIIIIIIIII", mark, *sizes)
    places = pack("<109I", listed, *[free] * 108)
    return head + places + b"".join(sectors) + pack("<128I", *table)


def _ends(path: str) -> list[int]:
    return [at for at, character in enumerate(path) if character == "/"]
