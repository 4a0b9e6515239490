"""The hardened parser, elements as dataclasses, and elements as trees."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import pickle
import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ci.protocol import jobs, media_info
from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.fields import SERVICE_ZONE, element, format_time
from airflow_provider_ci.protocol.jobs import Job, JobsResponse, Workflow
from airflow_provider_ci.protocol.media_info import AudioStream, MediaStream
from airflow_provider_ci.protocol.tree import REPEATED, repeated_in
from airflow_provider_ci.protocol.xml import (
    MAX_BYTES,
    ElementTree,
    XMLError,
    parse_document,
    parse_response,
    read,
    tree_to_bytes,
)


def parsed(cls: type, text: str) -> Any:
    return read(cls, parse_document(text.encode()))


def tree(text: str) -> ElementTree:
    return ElementTree(parse_document(text.encode()))


# --- round trip ---------------------------------------------------------------------------------------------

# XML 1.0's characters. A text of whitespace only is read as absent, like an empty one.
xml_texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff", min_codepoint=0x20)
    | st.sampled_from("\t\n\r<>&\"'"),
    min_size=1,
    max_size=8,
).filter(str.strip)
NAMES = st.sampled_from(("Object", "Audio", "ObjectName", "Watermark", "sentence_list", "a.b-c"))
TREES = st.recursive(
    xml_texts,
    lambda inner: st.dictionaries(
        NAMES, inner | st.lists(inner, min_size=2, max_size=3), min_size=1, max_size=4
    ),
    max_leaves=20,
)


@given(st.dictionaries(NAMES, TREES, min_size=1, max_size=4))
def test_what_is_written_is_read_back(sent):
    root = parse_document(tree_to_bytes(sent, "Root"))
    assert root.tag == "Root"
    found = ElementTree(root)
    assert as_read("Root", sent) == found
    assert [*found] == [*sent]


def as_read(parent: str, value: Any) -> Any:
    """Return a tree as it is read: elements that may be repeated are lists, also of one."""
    if not isinstance(value, dict):
        return value
    read_back = {}
    for name, child in value.items():
        entries = [as_read(name, each) for each in (child if isinstance(child, list) else [child])]
        is_list = isinstance(child, list) or name in repeated_in(parent)
        read_back[name] = entries if is_list else entries[0]
    return read_back


@pytest.mark.parametrize(
    "cls",
    [
        cls
        for module in (jobs, media_info)
        for cls in vars(module).values()
        if dataclasses.is_dataclass(cls) and cls.__module__ == module.__name__
        if not issubclass(cls, ApiRequest)
    ],
    ids=lambda cls: cls.__name__,
)
def test_every_model_is_empty_by_default_and_needs_no_element(cls):
    fresh = read(cls, parse_document(b"<Root/>"))
    assert fresh == cls()


def written(tree: dict[str, Any]) -> str:
    return tree_to_bytes(tree, "r").decode().partition("\n")[2]


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"b": "1", "a": {"d": "2", "c": "3"}}, "<r><b>1</b><a><d>2</d><c>3</c></a></r>"),
        ({"a": ["2", "1"], "b": ({"c": "3"}, {})}, "<r><a>2</a><a>1</a><b><c>3</c></b><b></b></r>"),
        ({"a": None, "b": [None, "1"], "c": {"d": None}}, "<r><b>1</b><c></c></r>"),
        ({"a": "", "b": {}, "c": []}, "<r><a></a><b></b></r>"),
        (
            {"a": 1, "b": -2.5, "c": True, "d": False, "e": Job(state="Success").job_state},
            "<r><a>1</a><b>-2.5</b><c>true</c><d>false</d><e>Success</e></r>",
        ),
        ({"a": "<&>]]> 人\n\r\"'"}, "<r><a>&lt;&amp;&gt;]]&gt; 人\n&#13;\"'</a></r>"),
    ],
    ids=["order", "repeated", "absent", "empty", "values", "escaped"],
)
def test_a_tree_is_written_as_it_is(tree, expected):
    assert written(tree) == expected


# --- reading as a tree --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("<r><b>1</b><a>2</a></r>", {"b": "1", "a": "2"}, id="scalars"),
        pytest.param("<r><a/><b> \n</b><c></c></r>", {"a": "", "b": "", "c": ""}, id="empty"),
        pytest.param("<r><a> x </a></r>", {"a": " x "}, id="spaces-in-text"),
        pytest.param("<r><a><b>1</b>\n</a></r>", {"a": {"b": "1"}}, id="nested"),
        pytest.param("<r><a>1</a><b>2</b><a>3</a></r>", {"a": ["1", "3"], "b": "2"}, id="undocumented-list"),
        pytest.param("<r><a>1</a><a><b>2</b></a><a/></r>", {"a": ["1", {"b": "2"}]}, id="of-any-kind"),
        pytest.param("<r><a/><a>1</a></r>", {"a": "1"}, id="empty-then-filled"),
        pytest.param(
            "<Stream><Audio><Index>0</Index></Audio></Stream>", {"Audio": [{"Index": "0"}]}, id="one"
        ),
        pytest.param("<Stream><Audio/><Video/></Stream>", {"Audio": [], "Video": []}, id="no-streams"),
        pytest.param(
            "<Transcode><Audio><Codec>aac</Codec></Audio></Transcode>",
            {"Audio": {"Codec": "aac"}},
            id="parent-decides",
        ),
        pytest.param(
            "<Operation><Watermark><Dx>1</Dx></Watermark></Operation>",
            {"Watermark": [{"Dx": "1"}]},
            id="watermark",
        ),
        pytest.param("<r xmlns='urn:x'><a>1</a></r>", {"a": "1"}, id="default-namespace"),
        pytest.param("<r xmlns:n='urn:x'><n:a n:x='2'>1</n:a></r>", {"a": "1"}, id="prefix"),
        pytest.param(
            "<r><a><![CDATA[<b>&]]></a><!-- c --><?pi x?></r>", {"a": "<b>&"}, id="cdata-comment-pi"
        ),
        pytest.param("<r/>", {}, id="nothing"),
    ],
)
def test_an_element_is_a_tree(text, expected):
    found = tree(text)
    assert found == expected
    assert [*found] == [*expected]
    assert (len(found), repr(found)) == (len(expected), repr(expected))
    for same in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert same == expected
        assert type(same) is dict


@pytest.mark.parametrize(
    "path",
    [
        *(
            "SpeechRecognitionResult/ResultDetail",
            "ResultDetail/Words",
            "SpeechRecognitionResult/FlashResult",
        ),
        *("FlashResult/sentence_list", "sentence_list/word_list", "SoundHoundResult/SongList"),
        *("PitchScore/SentenceScores", "RhythemScore/SentenceScores", "SplitVideoInfoResult/TimeInfo"),
        *("Data/Tags", "Data/PersonTags", "Data/PlaceTags", "Data/ActionTags", "Data/ObjectTags"),
        *("Stream/Audio", "Stream/Video", "Stream/Subtitle", "OutputFile/ObjectName", "OutputFile/Md5Info"),
        *("WordsGeneralizeResult/WordsGeneralizeLable", "WordsGeneralizeResult/WordsGeneralizeToken"),
        *("VqaPlusResult/DetailedResult", "Operation/Watermark", "Output/StreamExtract", "Input/CosHeaders"),
        *("ConcatTemplate/ConcatFragment", "FillConcat/FillInput", "VideoSynthesis/SpliceInfo"),
        *("Subtitles/Subtitle", "FileCompressConfig/Key", "FileCompressConfig/KeyConfig"),
    ],
)
def test_the_elements_that_documents_repeat_may_be_repeated(path):
    parent, name = path.split("/")
    assert name in repeated_in(parent)
    assert name not in repeated_in("Transcode")


@pytest.mark.parametrize(
    ("parent", "name"),
    [*sorted(pair for pair in REPEATED if pair[0] != "*"), ("Transcode", "AudioMixArray")],
)
def test_an_element_that_may_be_repeated_is_always_a_list(parent, name):
    one, two = f"<{name}>1</{name}>", f"<{name}><a>2</a></{name}>"
    assert tree(f"<{parent}>{one}</{parent}>") == {name: ["1"]}
    assert tree(f"<{parent}>{one}<z/>{two}</{parent}>") == {name: ["1", {"a": "2"}], "z": ""}
    assert tree(f"<{parent}><{name}/></{parent}>") == {name: []}


def test_a_tree_is_made_when_somebody_looks_into_it_and_once():
    found = tree("<r><a>1</a></r>")
    assert found._tree == {}
    assert found["a"] == "1"
    made = found._load()
    assert found._load() is made
    assert hash(found) == hash(tree("<r><a>2</a></r>"))
    with pytest.raises(KeyError):
        found["b"]


def test_threads_may_look_into_a_tree_at_once():
    text = "<r>" + "".join(f"<a{n}>{n}</a{n}>" for n in range(2000)) + "</r>"
    for _ in range(20):
        found, lengths, start = tree(text), [], threading.Barrier(4)

        def look(found: Any = found, lengths: list[int] = lengths, start: Any = start) -> None:
            start.wait()
            lengths.append(len(found))

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert lengths == [2000] * 4


# --- tolerant reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("<r><RunId>b</RunId><Name>a</Name></r>", ("a", "b"), id="any-order"),
        pytest.param("<r><Name>a</Name><Name>c</Name></r>", ("a", None), id="first-of-several"),
        pytest.param("<r><Name/><Name> </Name><Name>c</Name></r>", ("c", None), id="first-filled"),
        pytest.param("<r><Name/><RunId></RunId></r>", (None, None), id="empty"),
        pytest.param("<r>text<Name>a</Name>tail<New><Name>b</Name></New></r>", ("a", None), id="new"),
        pytest.param("<r xmlns='urn:x'><Name>a</Name></r>", ("a", None), id="default-namespace"),
        pytest.param("<r xmlns:n='urn:x'><n:Name>a</n:Name></r>", ("a", None), id="prefix"),
        pytest.param("<r><Name a='1'><![CDATA[a&b]]></Name></r>", ("a&b", None), id="cdata-attribute"),
        pytest.param("<r><Name>a<!-- c -->b<?pi x?>c</Name></r>", ("abc", None), id="comment-and-pi"),
        pytest.param("<!-- c --><r>\n  <Name>a b </Name>\n</r>", ("a b ", None), id="indented"),
        pytest.param("\ufeff<r><Name>人声 1</Name></r>", ("人声 1", None), id="byte-order-mark"),
        pytest.param(
            "<?xml version='1.0' encoding='gbk'?><r><Name>人</Name></r>",
            ("人", None),
            id="lying-declaration",
        ),
        pytest.param("<r><name>a</name><NAME>b</NAME></r>", (None, None), id="case-counts"),
    ],
)
def test_reading_is_tolerant(text, expected):
    found = parsed(Workflow, text)
    assert (found.name, found.run_id) == expected


@pytest.mark.parametrize(
    ("text", "streams"),
    [
        pytest.param("<r/>", (), id="none"),
        pytest.param("<r><Audio/></r>", (), id="empty"),
        pytest.param("<r><Audio><Index>1</Index></Audio></r>", (AudioStream(index=1),), id="single"),
        pytest.param(
            "<r><Audio><Index>2</Index></Audio><New/><Audio><Index>1</Index></Audio></r>",
            (AudioStream(index=2), AudioStream(index=1)),
            id="several-mixed",
        ),
    ],
)
def test_repeated_elements_keep_their_order(text, streams):
    assert parsed(MediaStream, text).audio == streams


def test_an_element_that_is_kept_as_a_tree_is_none_if_it_is_empty():
    job = parsed(Job, "<r><Input/><Operation><UserData/></Operation></r>")
    assert job.input is None
    assert job.operation == {"UserData": ""}
    assert job.user_data is None


def test_an_empty_stream_element_is_no_stream():
    found = parsed(MediaStream, "<r><Video/><Subtitle> </Subtitle><Audio><Index>0</Index></Audio></r>")
    assert (found.video, found.subtitle) == ((), ())
    assert [stream.index for stream in found.audio] == [0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "2025-01-02T03:04:05+0800", datetime(2025, 1, 2, 3, 4, 5, tzinfo=SERVICE_ZONE), id="wire"
        ),
        pytest.param(
            "2025-01-02T03:04:05+08:00", datetime(2025, 1, 2, 3, 4, 5, tzinfo=SERVICE_ZONE), id="colon"
        ),
        pytest.param(" 2025-01-01T19:04:05Z\n", datetime(2025, 1, 1, 19, 4, 5, tzinfo=UTC), id="utc-spaces"),
        pytest.param("2025-01-02T03:04:05", datetime(2025, 1, 2, 3, 4, 5, tzinfo=SERVICE_ZONE), id="no-zone"),
        pytest.param("-", None, id="dash"),
        pytest.param(" - ", None, id="dash-and-whitespace"),
        pytest.param("", None, id="empty"),
        pytest.param("soon", None, id="unreadable"),
        pytest.param("2025-02-30T03:04:05+0800", None, id="no-such-day"),
    ],
)
def test_times(text, expected):
    found = parsed(Job, f"<r><EndTime>{text}</EndTime></r>").end_time
    assert found == expected
    if found:
        assert found.utcoffset() == expected.utcoffset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30", 30),
        (" 30 ", 30),
        ("30.0", 30),
        ("-1", -1),
        ("30.5", None),
        ("nan", None),
        ("inf", None),
        ("x", None),
    ],
)
def test_integers(text, expected):
    assert parsed(Job, f"<r><Progress>{text}</Progress></r>").progress == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("13.25", 13.25), ("-1e3", -1000.0), ("nan", None), ("-inf", None), ("1e999", None)],
)
def test_a_number_that_json_has_not_is_none(text, expected):
    assert parsed(media_info.MediaFormat, f"<r><Duration>{text}</Duration></r>").duration == expected


@pytest.mark.parametrize(
    ("cls", "name", "text"),
    [
        (media_info.MediaFormat, "Duration", "nan"),
        (Job, "Progress", "30.5"),
        (Job, "Progress", "1e999"),
        (Job, "EndTime", "soon"),
        (media_info.MediaFormat, "Duration", "long"),
    ],
)
def test_what_cannot_be_read_counts_as_absent(cls, name, text):
    assert parsed(cls, f"<r xmlns='urn:x'><{name}>{text}</{name}></r>") == cls()


# --- hardening ----------------------------------------------------------------------------------------------

DTD = '<?xml version="1.0" encoding="{}"?><!DOCTYPE r [<!ENTITY x "boo">]><r>&x;</r>'
LAUGHS = (
    '<!DOCTYPE r [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + "]><r>&j;</r>"
)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(DTD.format("utf-8").encode(), "document type", id="internal-dtd"),
        pytest.param(b"<!DOCTYPE r SYSTEM 'http://127.0.0.1/x.dtd'><r/>", "document type", id="external-dtd"),
        pytest.param(
            b"<!DOCTYPE r [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><r>&x;</r>",
            "document type",
            id="external-entity",
        ),
        pytest.param(
            b"<!DOCTYPE r [<!ENTITY % p SYSTEM 'http://127.0.0.1/p'> %p;]><r/>",
            "document type",
            id="parameter-entity",
        ),
        pytest.param(LAUGHS.encode(), "document type", id="billion-laughs"),
        pytest.param(b"<!-- a --><?pi b?>\n<!DOCTYPE\nr><r/>", "document type", id="dtd-after-comment"),
        pytest.param(b"<!DOCTYPE html><html><body>Login<br></body></html>", "document type", id="html5"),
        pytest.param(b"<!doctype html><html></html>", "not well-formed", id="html-lower-case"),
        pytest.param(DTD.format("utf-16").encode("utf-16"), "not UTF-8", id="dtd-utf-16-with-mark"),
        pytest.param(DTD.format("utf-16").encode("utf-16-le"), "not well-formed", id="dtd-utf-16-le"),
        pytest.param(DTD.format("utf-16").encode("utf-16-be"), "not well-formed", id="dtd-utf-16-be"),
        pytest.param(DTD.format("utf-32").encode("utf-32-le"), "not well-formed", id="dtd-utf-32-le"),
        pytest.param(DTD.format("cp037").encode("cp037"), "not UTF-8", id="dtd-ebcdic"),
        pytest.param(
            b'<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE r [+ADwAIQ-ENTITY x "y"+AD4-]+AD4-<r/>',
            "not well-formed",
            id="dtd-utf-7",
        ),
        pytest.param("<r>人</r>".encode("gbk"), "not UTF-8", id="other-encoding"),
        pytest.param(b"<r>&undefined;</r>", "not well-formed", id="undefined-entity"),
        pytest.param(b"<a>" * 300 + b"</a>" * 300, "not well-formed", id="nesting"),
        pytest.param(b"<a>" * 5000 + b"</a>" * 5000, "not well-formed", id="deep-nesting"),
        pytest.param(b"<r><a>1</a>", "not well-formed", id="truncated"),
        pytest.param(b"<r/><r/>", "not well-formed", id="two-roots"),
        pytest.param(b"<html><body><p>Bad gateway</body></html>", "not well-formed", id="html"),
        pytest.param(b'{"Code": "x"}', "not well-formed", id="json"),
        pytest.param(b"<r>a\x00b</r>", "not well-formed", id="nul-byte"),
        pytest.param(b"<r>&#0;</r>", "not well-formed", id="nul-reference"),
        pytest.param(b"<r>\x1b[31m</r>", "not well-formed", id="control-character"),
        pytest.param(b"", "not well-formed", id="empty"),
        pytest.param(b" \n", "not well-formed", id="blank"),
    ],
)
def test_hostile_documents_are_rejected(data, says):
    with pytest.raises(XMLError, match=says):
        parse_document(data)


@pytest.mark.parametrize(
    ("message", "read_as"),
    [
        pytest.param(b"a&#x1b;b", "a\ufffdb", id="reference-to-a-control-character"),
        pytest.param(b"a\x1b[31mb", "a\ufffd[31mb", id="control-character"),
        pytest.param(b"\x00", "\ufffd", id="nul-byte"),
        pytest.param(b"&#0;", "\ufffd", id="nul-reference"),
        pytest.param(b"a\xffb", "a\ufffdb", id="byte-of-no-character"),
        pytest.param("人".encode("gbk"), "\ufffd\ufffd", id="other-encoding"),
        pytest.param("人".encode()[:2], "\ufffd", id="cut-off-character"),
        pytest.param(b"\xed\xa0\x80", "\ufffd\ufffd\ufffd", id="surrogate"),
        pytest.param(b"&#xD800;&#55296;", "\ufffd\ufffd", id="references-to-surrogates"),
        pytest.param(b"&#xFFFE;\xef\xbf\xbf", "\ufffd\ufffd", id="no-characters"),
        pytest.param(b"&#x110000;", "\ufffd", id="beyond-unicode"),
        pytest.param(b"&#X41;&#;&#x;&#1_0;&#+65;", "\ufffd" * 5, id="misspelt-references"),
        pytest.param(b"&#" + b"9" * 50 + b";", "\ufffd" + "9" * 30 + ";", id="long-number"),
        pytest.param(b"<![CDATA[\x1b]]>", "\ufffd", id="in-cdata"),
        pytest.param(b"Tom & Jerry?a=1&b=2", "Tom & Jerry?a=1&b=2", id="bare-ampersand"),
        pytest.param(b"a&nbsp;b &copy;2025", "a&nbsp;b &copy;2025", id="entities-of-html"),
        pytest.param(b"http://x/?a=1&lang=zh&b;", "http://x/?a=1&lang=zh&b;", id="query"),
        pytest.param(b"&LT;&Amp;", "&LT;&Amp;", id="entities-have-small-letters"),
        pytest.param(b"a]]>b]]]]>", "a]]>b]]]]>", id="end-of-cdata"),
        pytest.param(b"1 < 2 <3 <= << 4<&nbsp;<", "1 < 2 <3 <= << 4<&nbsp;<", id="less-than"),
        pytest.param(b"<![CDATA[<!DOCTYPE html>]]>", "<!DOCTYPE html>", id="document-type-in-cdata"),
        pytest.param(
            b"a&nbsp;<![CDATA[<b>&amp;&nbsp;\x1b]]>]]>&lt;",
            "a&nbsp;<b>&amp;&nbsp;\ufffd]]><",
            id="cdata-as-it-is",
        ),
        pytest.param(
            b"<![CDATA[<!DOCTYPE r [<!ENTITY x 'y'>]>]]>&x;",
            "<!DOCTYPE r [<!ENTITY x 'y'>]>&x;",
            id="no-entity",
        ),
        pytest.param(b"\x1b&lt;a&gt;&amp;&#65;&#x42;", "\ufffd<a>&AB", id="the-rest-is-read-as-ever"),
    ],
)
def test_one_invalid_text_leaves_the_rest_of_the_document_readable(message, read_as):
    document = (
        b"<?xml version='1.0' encoding='gb2312'?><Response><JobsDetail><JobId>j1</JobId></JobsDetail>"
        b"<JobsDetail><JobId>j2</JobId><Message>" + message + b"</Message><State>Failed</State></JobsDetail>"
        b"<JobsDetail><JobId>j3</JobId></JobsDetail></Response>"
    )
    for before in (b"", b"\xef\xbb\xbf", b"\r\n ", b" \xef\xbb\xbf\n", b"\x00"):
        found = read(JobsResponse, parse_response(before + document))
        assert [job.job_id for job in found.jobs_detail] == ["j1", "j2", "j3"], before
        assert (found.jobs_detail[1].message, found.jobs_detail[1].state) == (read_as, "Failed"), before


REPAIRABLE = (b"\x1b", b"\xff", b"&#0;", b" & ", b"&nbsp;", b"]]>", b" < ", b"<![CDATA[<!DOCTYPE r>]]>")


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(DTD.format("utf-8").encode(), id="internal-dtd"),
        pytest.param(
            b"<!DOCTYPE r [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><r>&x;</r>", id="external-entity"
        ),
        pytest.param(LAUGHS.encode(), id="billion-laughs"),
        pytest.param(DTD.format("utf-16").encode("utf-16"), id="dtd-utf-16"),
        pytest.param(DTD.format("utf-16").encode("utf-16-le"), id="dtd-utf-16-le"),
        pytest.param(DTD.format("cp037").encode("cp037"), id="dtd-ebcdic"),
        pytest.param(b"\n<!DOCTYPE r><r/>", id="dtd-after-whitespace"),
        pytest.param(b"<r><![CDATA[</r><!DOCTYPE r></r>", id="dtd-after-open-cdata"),
        pytest.param(b"<!-- <![CDATA[ --><!DOCTYPE r><!-- ]]> --><r></r>", id="dtd-in-no-cdata"),
        pytest.param(b"<!DOCTYPE r [<!ENTITY x '<![CDATA['>]><r>&x;]]></r>", id="cdata-in-dtd"),
        pytest.param(b"<!DOC<![CDATA[]]>TYPE r [<!ENTITY x 'y'>]><r>&x;</r>", id="dtd-around-cdata"),
        pytest.param(b"<r><a>1<br></a></r>", id="tag-that-is-not-closed"),
        pytest.param(b"<a>" * 5000 + b"</a>" * 5000, id="nesting"),
        pytest.param(b"<r><a>1</a>", id="truncated"),
        pytest.param(b"<r/><r/>", id="two-roots"),
        pytest.param(b"<html><body><p>Bad gateway</body></html>", id="html"),
        pytest.param(b"", id="empty"),
    ],
)
def test_a_repair_lets_nothing_else_in(document):
    for invalid in (b"", *REPAIRABLE):
        with pytest.raises(XMLError):
            parse_response(document.replace(b"</", invalid + b"</", 1))


def test_a_repair_has_its_bounds():
    spoilt = b"<r>" + b"\x1b" * 95 + b"</r>"
    assert parse_response(spoilt, max_bytes=102).text == "\ufffd" * 95
    with pytest.raises(XMLError, match="102 bytes, more than 101"):
        parse_response(spoilt, max_bytes=101)
    with pytest.raises(XMLError, match="not well-formed"):
        parse_response(b"<r>" + b"\x1b" * 1024 * 1024 + b"</r>")
    with pytest.raises(XMLError, match="not well-formed"):
        parse_response(b"<r>" + b"&" * 20_001 + b"</r>")
    with pytest.raises(XMLError, match="not well-formed"):
        parse_response(b"<r>" + b" <" * 20_001 + b"</r>")
    with pytest.raises(XMLError, match="not well-formed"):
        parse_response(b"<![CDATA[" * 110_000)
    with pytest.raises(XMLError, match="not well-formed"):
        parse_response(b"<r>\x1b<![CDATA[" + b"<" * 20_001 + b"]]></r>")


@given(
    st.binary(max_size=200)
    | st.text(alphabet="<>/!?&;#x'\"=[]- aDOCTYPE\x1b\ud800", max_size=60).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    )
)
def test_any_bytes_are_read_or_rejected(data):
    with contextlib.suppress(XMLError):
        read(JobsResponse, parse_response(data))


def test_size_is_bounded_before_anything_is_parsed():
    document = b"<r>" + b"x" * 93 + b"</r>"
    assert parse_document(document, max_bytes=100).text == "x" * 93
    with pytest.raises(XMLError, match="100 bytes, more than 99"):
        parse_document(document, max_bytes=99)
    with pytest.raises(XMLError, match="more than"):
        parse_document(b"x" * (MAX_BYTES + 1))


def test_inclusions_are_not_followed():
    root = parse_document(
        b"<r xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='/etc/passwd' parse='text'/></r>"
    )
    assert "".join(root.itertext()) == ""


@given(st.binary(max_size=200) | st.text(alphabet="<>/!?&;#x'\"=[]- aDOCTYPE", max_size=60).map(str.encode))
def test_any_bytes_are_parsed_or_rejected(data):
    with contextlib.suppress(XMLError):
        read(JobsResponse, parse_document(data))


@pytest.mark.parametrize("name", ["a b", "<a>", "a>b", "", "1a", "a/", "人", "a\n", "-a", "a:b"])
def test_names_that_no_element_has_are_rejected(name):
    for tree in ({name: "x"}, {"a": {name: None}}, {"a": [{name: []}]}):
        with pytest.raises(XMLError, match=r"^'.*' cannot be the name of an element"):
            tree_to_bytes(tree, "Request")


@pytest.mark.parametrize("bad", ["a\x00b", "\x1b", "\ud800", "\ufffe"], ids=ascii)
def test_characters_that_xml_cannot_carry_are_rejected_by_element(bad):
    with pytest.raises(XMLError, match=r"^Object: .* cannot carry"):
        tree_to_bytes({"Input": {"Object": bad}}, "Request")


# --- values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2025, 1, 2, 3, 4, 5, tzinfo=SERVICE_ZONE),
        datetime(2025, 1, 1, 19, 4, 5, 999999, tzinfo=UTC),
        datetime(2025, 1, 1, 14, 4, 5, tzinfo=timezone(timedelta(hours=-5))),
    ],
    ids=["service-zone", "utc-microseconds", "west"],
)
def test_format_time(moment):
    assert format_time(moment) == "2025-01-02T03:04:05+0800"


def test_format_time_rejects_a_time_without_zone():
    with pytest.raises(ValueError, match="no time zone"):
        format_time(datetime(2025, 1, 2))


def test_element_names_can_be_set():
    @dataclasses.dataclass(frozen=True)
    class Named:
        md5: str | None = dataclasses.field(default=None, metadata=element("ETag", "Md5"))
        plain_name: str | None = None

    assert parsed(Named, "<r><ETag>1</ETag><PlainName>2</PlainName></r>") == Named("1", "2")
    assert parsed(Named, "<r><Md5>1</Md5><PlainName/></r>") == Named("1")
