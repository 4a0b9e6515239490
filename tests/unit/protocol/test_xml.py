"""The hardened parser and the mapping between dataclasses and elements."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import types
import typing
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_ci.protocol import jobs, media_info
from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.fields import SERVICE_ZONE, element, format_time, type_mismatches
from airflow_provider_ci.protocol.jobs import (
    Input,
    Job,
    JobRequest,
    JobsResponse,
    Md5Info,
    Operation,
    OutputFile,
)
from airflow_provider_ci.protocol.media_info import MediaStream
from airflow_provider_ci.protocol.xml import (
    MAX_BYTES,
    XMLError,
    parse_document,
    parse_response,
    read,
    to_bytes,
    to_dict,
    to_element,
)


def parsed(cls, text: str):
    return read(cls, parse_document(text.encode()))


# --- round trip ---------------------------------------------------------------------------------------------

# XML 1.0's characters. A text of whitespace only is read as absent, like an empty one.
xml_texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff", min_codepoint=0x20)
    | st.sampled_from("\t\n\r<>&\"'"),
    min_size=1,
    max_size=8,
).filter(str.strip)
moments = st.datetimes(
    datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.sampled_from([SERVICE_ZONE, UTC])
).map(lambda moment: moment.replace(microsecond=0))
VALUES = {
    str: xml_texts,
    int: st.integers(-(2**53), 2**53),
    float: st.floats(allow_nan=False, allow_infinity=False),
    datetime: moments,
}


@functools.cache
def instances(cls: type) -> st.SearchStrategy:
    """Return objects of a dataclass of the wire, from its annotations."""

    def values(hint) -> st.SearchStrategy:
        arguments = typing.get_args(hint)
        if isinstance(hint, types.UnionType):
            return st.none() | values(arguments[0])
        if typing.get_origin(hint) is tuple:
            return st.lists(values(arguments[0]), max_size=2).map(tuple)
        if dataclasses.is_dataclass(hint):
            # an element without children means that there is none
            return instances(hint).filter(to_dict)
        return VALUES[hint]

    hints = typing.get_type_hints(cls)
    fields = {field.name: values(hints[field.name]) for field in dataclasses.fields(cls)}
    if cls is JobRequest:
        fields["tag"] = xml_texts  # without one it is read as its default
    return st.builds(cls, **fields)


@pytest.mark.parametrize("cls", [JobRequest, JobsResponse], ids=lambda cls: cls.__name__)
@settings(max_examples=40, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
@given(data=st.data())
def test_what_is_written_is_read_back(cls, data):
    sent = data.draw(instances(cls))
    root = parse_document(to_bytes(to_element(sent, "Root")))
    assert root.tag == "Root"
    assert read(cls, root) == sent
    assert list(type_mismatches(sent)) == []
    json.dumps(to_dict(sent))


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
    assert to_dict(fresh) in ({}, {"tag": "VoiceSeparate"})


def test_writing_keeps_the_order_of_the_fields_and_repeats_tuples():
    written = to_bytes(
        to_element(
            OutputFile(object_name=("b", "a"), md5_info=(Md5Info(md5="1"), Md5Info(md5="2")), bucket="x"),
            "OutputFile",
        )
    )
    assert written == (
        b"<?xml version='1.0' encoding='UTF-8'?>\n"
        b"<OutputFile><Bucket>x</Bucket><ObjectName>b</ObjectName><ObjectName>a</ObjectName>"
        b"<Md5Info><Md5>1</Md5></Md5Info><Md5Info><Md5>2</Md5></Md5Info></OutputFile>"
    )


def test_none_is_left_out_and_an_empty_string_is_an_empty_element():
    assert to_bytes(to_element(Input(object="", region=None), "Input")).endswith(
        b"<Input><Object></Object></Input>"
    )


# --- tolerant reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("<r><Region>b</Region><Object>a</Object></r>", ("a", "b"), id="any-order"),
        pytest.param("<r><Object>a</Object><Object>c</Object></r>", ("a", None), id="first-of-several"),
        pytest.param("<r><Object/><Object> </Object><Object>c</Object></r>", ("c", None), id="first-filled"),
        pytest.param("<r><Object/><Region></Region></r>", (None, None), id="empty"),
        pytest.param("<r>text<Object>a</Object>tail<New><Object>b</Object></New></r>", ("a", None), id="new"),
        pytest.param("<r xmlns='urn:x'><Object>a</Object></r>", ("a", None), id="default-namespace"),
        pytest.param("<r xmlns:n='urn:x'><n:Object>a</n:Object></r>", ("a", None), id="prefix"),
        pytest.param("<r><Object a='1'><![CDATA[a&b]]></Object></r>", ("a&b", None), id="cdata-attribute"),
        pytest.param("<r><Object>a<!-- c -->b<?pi x?>c</Object></r>", ("abc", None), id="comment-and-pi"),
        pytest.param("<!-- c --><r>\n  <Object>a b </Object>\n</r>", ("a b ", None), id="indented"),
        pytest.param("\ufeff<r><Object>人声 1</Object></r>", ("人声 1", None), id="byte-order-mark"),
        pytest.param(
            "<?xml version='1.0' encoding='gbk'?><r><Object>人</Object></r>",
            ("人", None),
            id="lying-declaration",
        ),
        pytest.param("<r><object>a</object><OBJECT>b</OBJECT></r>", (None, None), id="case-counts"),
    ],
)
def test_reading_is_tolerant(text, expected):
    found = parsed(Input, text)
    assert (found.object, found.region) == expected


@pytest.mark.parametrize(
    ("text", "bucket"),
    [
        pytest.param("<r><BucketId>a</BucketId></r>", "a", id="as-on-the-wire"),
        pytest.param("<r><Bucket>a</Bucket></r>", "a", id="as-in-the-table"),
        pytest.param("<r><Bucket/><BucketId>a</BucketId></r>", "a", id="both-one-empty"),
    ],
)
def test_the_inputs_bucket_has_two_spellings(text, bucket):
    assert parsed(Input, text).bucket_id == bucket
    assert b"<BucketId>a</BucketId>" in to_bytes(to_element(Input(bucket_id="a"), "Input"))


@pytest.mark.parametrize(
    ("text", "names", "sums"),
    [
        pytest.param("<r/>", (), (), id="none"),
        pytest.param("<r><ObjectName/><Md5Info/></r>", (), (), id="empty"),
        pytest.param(
            "<r><ObjectName>a</ObjectName><Md5Info><ObjectName>a</ObjectName><Md5>1</Md5></Md5Info></r>",
            ("a",),
            (Md5Info(object_name="a", md5="1"),),
            id="single",
        ),
        pytest.param(
            "<r><ObjectName>b</ObjectName><Md5Info><Md5>1</Md5></Md5Info><ObjectName>a</ObjectName>"
            "<Md5Info><Md5>2</Md5></Md5Info></r>",
            ("b", "a"),
            (Md5Info(md5="1"), Md5Info(md5="2")),
            id="several-mixed",
        ),
    ],
)
def test_repeated_elements_keep_their_order(text, names, sums):
    found = parsed(OutputFile, text)
    assert (found.object_name, found.md5_info) == (names, sums)


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
        (Operation, "JobLevel", "high"),
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


@pytest.mark.parametrize("bad", ["a\x00b", "\x1b", "\ud800", "\ufffe"], ids=ascii)
def test_characters_that_xml_cannot_carry_are_rejected_by_element(bad):
    request = JobRequest(input=Input(object=bad))
    with pytest.raises(XMLError, match=r"^Object: .* cannot carry"):
        to_element(request, "Request")


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


def test_to_dict_leaves_absent_fields_out():
    job = Job(
        job_id="j1",
        end_time=datetime(2025, 1, 2, tzinfo=SERVICE_ZONE),
        operation=Operation(job_level=0, user_data=""),
        workflow=(jobs.Workflow(name="w"),),
    )
    assert to_dict(job) == {
        "job_id": "j1",
        "end_time": "2025-01-02T00:00:00+08:00",
        "operation": {"job_level": 0, "user_data": ""},
        "workflow": [{"name": "w"}],
    }


def test_element_names_can_be_set():
    @dataclasses.dataclass(frozen=True)
    class Named:
        md5: str | None = dataclasses.field(default=None, metadata=element("ETag", "Md5"))
        plain_name: str | None = None

    assert to_bytes(to_element(Named(md5="1", plain_name="2"), "r")).endswith(
        b"<r><ETag>1</ETag><PlainName>2</PlainName></r>"
    )
    assert parse_document(b"<r><Md5>1</Md5></r>")[0].tag == "Md5"


def test_mistyped_names_the_path():
    request = JobRequest(
        input={"object": "a"},
        operation=Operation(job_level=True, user_data=1),
    )
    assert list(type_mismatches(request)) == [
        ("Input", {"object": "a"}, Input),
        ("Operation.UserData", 1, str),
        ("Operation.JobLevel", True, int),
    ]
