"""XML that looks like the service's, changed in every way that a broken or hostile one could think of."""

from __future__ import annotations

import copy
import dataclasses
import random
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from hypothesis import strategies as st
from lxml import etree

from airflow_provider_ci.protocol import (
    batches,
    callbacks,
    errors,
    fields,
    jobs,
    objects,
    queues,
    services,
    templates,
    xml,
)

#: Text in places where the service has a name, number, time or key.
TEXTS = (
    *("", " ", "-", "\n", "true", "None", "0", "-1", "1.5", "1e3", "1_0", "0x1F", "١٢٣", "+1", "½"),
    *("nan", "-nan", "inf", "-Infinity", "1e308", "-1e999", "9" * 400, "9" * 5000, "-" + "9" * 30),
    *("2025-01-02T03:04:05+0800", "2025-13-45T99:99:99+9999", "0001-01-01T00:00:00+2359", "20250102"),
    *("9999-12-31T23:59:59-2359", "2025-01-02", "24:00", "2025-W01-1", "2025-01-02T03:04:05Z"),
    *("Success", "Failed", "Cancel", "success", "Running", "Exploded", "SlowDown", "1020", "AccessDenied"),
    *(
        "InvalidArgument",
        "ci not " * 3000,
        "role " * 3000,
        "q-signature=0123&sign=0123",
        "a,b,,c",
        "," * 3000,
    ),
    *(
        "${jobid}.${ext}",
        "${a}" * 6 + "x",
        "${ext}" * 8 + "-",
        "a" * 900,
        "ab" * 450,
        "$" * 900,
        "((((a+)+)+)+",
    ),
    *("../../etc/passwd", "a/../b", "//a", "%2e%2e%2f", "\\", "http://127.0.0.1/", "{{ 7 * 7 }}", "%s%n{0}"),
    *("\u202eabc", "\ufeff", "人声", "\u0085\u2028", "𝒳", "\x7f", "\x9b31m", "e\u0301" * 9, "x" * 70_000),
)
#: Pieces of markup that are put somewhere into a document.
PIECES = (
    *(b"&", b"&amp;", b"&lol9;", b"&#0;", b"&#x110000;", b"&#55296;", b"&#65;", b"<", b">", b"/>", b"]]>"),
    *(
        b"<![CDATA[<!DOCTYPE a>]]>",
        b"<![CDATA[",
        b"<!-- a -->",
        b"<!--",
        b"<?pi a?>",
        b"<?xml version='1.0'?>",
    ),
    *(b"<!ENTITY a 'b'>", b"<!DOCTYPE a>", b"<a b='1' b='2'/>", b"<a:b/>", b"<a xmlns:a=''/>", b"<a></b>"),
    *(b"<xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='/etc/passwd' parse='text'/>", b"\x00"),
    *(b"\x1b[31m", b"\xff", b"\xc0\xbc", b"\xed\xa0\x80", b"\xef\xbf\xbe", b"\r", b"\xc2\x85", b"<" * 500),
    *(b"<a>" * 255, b"<a>" * 20_000, b"<a/>" * 20_000, b"<a " + b"b='" * 2000, b"<" + b"n" * 60_000 + b"/>"),
    b"<a " + b" ".join(b'a%d=""' % number for number in range(5000)) + b"/>",
    b"<a " + b" ".join(b'xmlns:a%d="u"' % number for number in range(5000)) + b"/>",
)
_SECRET_FILE = b"file:///etc/passwd"
_LAUGHS = b"<!DOCTYPE r [<!ENTITY l0 'ha'>%s]>" % b"".join(
    b"<!ENTITY l%d '%s'>" % (number, b"&l%d;" % (number - 1) * 10) for number in range(1, 10)
)
#: What may stand before a document. A document type must be refused in whatever form it comes.
PROLOGS = (
    b"",
    b"<?xml version='1.0' encoding='UTF-8'?>",
    b"<?xml version='1.1'?>",
    b"<?xml version='1.0' encoding='utf-16'?>",
    b"<?xml version='1.0' encoding='latin-1' standalone='yes'?>",
    b"<?xml version='1.0' encoding='UTF-7'?>",
    b"<?xml version='1.0' encoding='no such'?>",
    b"<?xml-stylesheet href='http://127.0.0.1:9/'?>",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\n<?xml version='1.0'?>",
    b"<!DOCTYPE Response>",
    b"<!DOCTYPE Response SYSTEM 'http://127.0.0.1:9/x.dtd'>",
    b"<!DOCTYPE r [<!ENTITY lol9 SYSTEM '" + _SECRET_FILE + b"'>]>",
    b"<!DOCTYPE r [<!ENTITY % p SYSTEM 'http://127.0.0.1:9/p'> %p;]>",
    b"<!DOCTYPE r [<!ATTLIST Response a CDATA 'b'><!ENTITY lol9 'b'>]>",
    _LAUGHS,
)
ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-16", "utf-16-le", "utf-32-be", "latin-1", "utf-7", "cp037")

_FILES = {"ObjectPrefix": "out/", "ObjectName": ["0.jpg", "1.jpg"], "Md5Info": [{"ObjectName": "out/0.jpg"}]}
#: What may be in the ``Input`` or ``Operation`` of a job, whatever its type, and in a template.
PARTS: dict[str, Any] = {
    "Object": "in/a.mp4",
    "Url": "https://example.org/a.mp4",
    "CosHeaders": [{"Key": "a", "Value": "b"}],
    "TemplateId": "t1",
    "UserData": "mine",
    "JobLevel": 0,
    "VoiceSeparate": {"AudioMode": "IsAudio", "AudioConfig": {"Codec": "mp3"}},
    "Watermark": [{"Type": "Text", "Text": {"Text": "a"}}],
    "Output": {
        "Bucket": "media-1250000001",
        "Region": "ap-guangzhou",
        "Object": "out/${Number}.jpg",
        "AuObject": "out/${jobid}/voice.${ext}",
        "SpriteObject": "out/sprite-${Number}.jpg",
        "StreamExtract": [{"Index": 0, "Object": "out/a.mp4"}, {"Index": 1, "Output": "out/b.mp4"}],
    },
    "MediaInfo": {"Format": {"Duration": "1.5"}, "Stream": {"Audio": [{"Index": 0}], "Video": ""}},
    "MediaResult": {"OutputFile": {**_FILES, "SpriteOutputFile": _FILES}},
    "DigitalWatermark": {"Message": "a", "State": "Failed"},
    "SpeechRecognitionResult": {
        "Result": "a" * 40_000,
        "ObjectName": "/out/a.txt",
        "DetailObjectName": "out/a.txt.detail",
        "ResultDetail": [{"Words": [{"Word": "a"}] * 3}] * 3,
        "FlashResult": [{"channel_id": 0, "sentence_list": [{"word_list": [{"word": "a"}]}]}],
    },
    "VideoTagResult": {
        "StreamData": {"SubErrCode": "1", "SubErrMsg": "no", "Data": {"Tags": [{"Tag": "a"}]}}
    },
    "PicProcessResult": {"UploadResult": {"ProcessResults": {"Object": "out/a.png"}}},
    "FileCompressResult": {"Object": "out/a.zip", "ErrorDetail": {"ErrorFile": ["a", "b"]}},
}

Edit = Callable[[random.Random, etree._Element], None]


def answer_models() -> list[type[Any]]:
    """Return the dataclasses of all documents that come from outside, also of those that are added later."""
    modules = (jobs, batches, templates, queues, services, objects, errors, callbacks)
    wanted = ("Response", "ErrorBody", "Callback")
    return [
        cast("type[Any]", each)
        for module in modules
        for name, each in sorted(vars(module).items())
        if dataclasses.is_dataclass(each) and each.__module__ == module.__name__ and name.endswith(wanted)
    ]


def filled(cls: type[Any], rng: random.Random) -> dict[str, Any]:
    """Return the tree of a document with most fields of a dataclass, as a valid one has them."""
    hints, tree = typing.get_type_hints(cls), {}
    for field in dataclasses.fields(cls):
        kind, repeated = fields.leaf_type(hints[field.name])
        if rng.random() < 0.9:
            name = rng.choice(fields.element_names(field))
            tree[name] = [_value(kind, rng) for _ in range(rng.randrange(1, 4) if repeated else 1)]
    return tree


def _value(kind: type[Any], rng: random.Random) -> Any:
    if dataclasses.is_dataclass(kind):
        return filled(kind, rng)
    if kind is Mapping:
        return {name: value for name, value in PARTS.items() if rng.random() < 0.5}
    if kind is datetime:
        return datetime.fromtimestamp(rng.randrange(2**31), UTC).isoformat()
    if kind in (int, float):
        return kind(rng.randrange(10_000))
    return rng.choice(("Success", "Failed", "Running", f"j{rng.randrange(10**9)}", "out/${jobid}.${ext}"))


def _retext(rng: random.Random, node: etree._Element) -> None:
    text = rng.choice(TEXTS)
    try:
        node.text = text
    except ValueError:
        node.text = "unwritable"


def _drop(rng: random.Random, node: etree._Element) -> None:
    parent = node.getparent()
    if parent is not None:
        parent.remove(node)


def _repeat(rng: random.Random, node: etree._Element) -> None:
    parent = node.getparent()
    if parent is not None:
        for _ in range(rng.choice((1, 1, 2, 30))):
            parent.append(copy.deepcopy(node))


def _rename(rng: random.Random, node: etree._Element) -> None:
    name = etree.QName(node).localname
    others = ("Error", "Response", "JobsDetail", name.lower(), f"{{urn:x}}{name}", "a-b.c", "人")
    node.tag = rng.choice(others)


def _swap(rng: random.Random, node: etree._Element) -> None:
    root = node.getroottree().getroot()
    other = rng.choice(list(root.iter(etree.Element)))
    if other is not root and node is not root and node not in list(other.iter()):
        node.append(other) if other not in list(node.iterancestors()) else None


def _nest(rng: random.Random, node: etree._Element) -> None:
    inner = etree.SubElement(node, str(node.tag))
    inner.text, inner.tail = rng.choice(TEXTS[:15]), "tail"


def _adorn(rng: random.Random, node: etree._Element) -> None:
    for number in range(rng.choice((1, 1, 300))):
        node.set(f"a{number}", "x")


_EDITS: tuple[Edit, ...] = (_retext, _retext, _retext, _drop, _repeat, _rename, _swap, _nest, _adorn)


def response(rng: random.Random, model: type[Any], edits: int) -> bytes:
    """Return a valid document of ``model`` after ``edits`` changes of its tree."""
    root_name = "Error" if model is errors.ErrorBody else "Response"
    return document(rng, filled(model, rng), root_name, edits)


def document(rng: random.Random, tree: dict[str, Any], root_name: str, edits: int) -> bytes:
    """Return a tree as a document after ``edits`` changes."""
    root = xml.parse_document(xml.tree_to_bytes(tree, root_name))
    for _ in range(edits):
        nodes = list(root.iter(etree.Element))
        rng.choice(_EDITS)(rng, nodes[rng.randrange(len(nodes))])
    return etree.tostring(root, encoding="UTF-8")


def _broken(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return rng.choice(
        (
            data[:at],
            data[:at] + rng.choice(PIECES) + data[at:],
            data[:at] + rng.choice(PIECES) + data[min(len(data), at + rng.randrange(30)) :],
            rng.choice(PROLOGS) + data.replace(b"Success", b"&lol9;"),
            rng.choice(PROLOGS) + data,
            data + rng.choice(PIECES),
            data + data,
            data.decode(errors="replace").encode(rng.choice(ENCODINGS), errors="replace"),
        )
    )


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Documents of every answer, changed and broken; and bytes of any kind."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=200))
    rng = random.Random(draw(st.integers(0, 2**64)))
    data = response(rng, draw(st.sampled_from(answer_models())), draw(st.integers(0, 5)))
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 1, 2)))):
        data = _broken(rng, data)
    return data
