from __future__ import annotations

from urllib.parse import parse_qsl, quote, unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.errors import ServiceError
from tencent_ci_emulator.objects.listing import list_objects
from tencent_ci_emulator.objects.object_store import ObjectStore, after_prefix
from tests.emulator.unit.test_objects import BUCKET, put


class Shelf:
    def __init__(self, folder):
        self.database = Database(folder / "db")
        self.objects = ObjectStore(self.database, folder / "data")

    def page(self, **params):
        query = "&".join(f"{name.replace('_', '-')}={quote(str(value))}" for name, value in params.items())
        params = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
        return list_objects(BUCKET, params, self.objects)

    def all(self, **params):
        keys, prefixes, marker = [], [], ""
        for _ in range(100):
            root = self.page(marker=marker, encoding_type="url", **params)
            keys += [unquote(one, errors="surrogateescape") for one in root.xpath("Contents/Key/text()")]
            prefixes += [unquote(one) for one in root.xpath("CommonPrefixes/Prefix/text()")]
            if root.findtext("IsTruncated") == "false":
                assert root.find("NextMarker") is None
                return keys, prefixes
            marker = unquote(root.findtext("NextMarker"), errors="surrogateescape")
        raise AssertionError("the pages do not end")


@pytest.fixture
def shelf(tmp_path):
    made = Shelf(tmp_path)
    yield made
    made.database.close()


KEYS = st.lists(st.text("ab/é\U0010ffff", min_size=1, max_size=5), max_size=12, unique=True)


@settings(max_examples=60)
@example(keys=["/", "/a"], prefix="/", delimiter="/", size=1)  # a folder's own object ends a page
@given(
    keys=KEYS,
    prefix=st.text("ab/é", max_size=2),
    delimiter=st.sampled_from(["", "/", "b/"]),
    size=st.integers(1, 4),
)
def test_pages_hold_what_a_plain_list_holds(tmp_path_factory, keys, prefix, delimiter, size):
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    try:
        for key in keys:
            put(shelf.objects, key, b"x")
        under = sorted((key for key in keys if key.startswith(prefix)), key=str.encode)
        groups = []
        for key in under:
            head, separator, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            group = prefix + head + separator if separator else None
            if group is not None and group not in groups:
                groups.append(group)
        plain = [key for key in under if not any(key.startswith(group) for group in groups)]
        assert shelf.all(prefix=prefix, delimiter=delimiter, max_keys=size) == (plain, groups)
    finally:
        shelf.database.close()


def test_the_fields_of_a_list_entry(shelf):
    stored = put(shelf.objects, "in/a b.mp3", b"12345")
    root = shelf.page(prefix="in/", max_keys=5)
    assert root.tag == "ListBucketResult"
    assert root.findtext("Name") == BUCKET
    assert root.find("EncodingType") is None
    assert [root.findtext(name) for name in ("Prefix", "Marker", "MaxKeys", "IsTruncated")] == [
        "in/", "", "5", "false",
    ]  # fmt: skip
    entry = root.find("Contents")
    assert {child.tag: child.text for child in entry if not len(child)} == {
        "Key": "in/a b.mp3",
        "LastModified": "1970-01-01T00:00:01.000Z",
        "ETag": stored.etag,
        "Size": "5",
        "StorageClass": "STANDARD",
    }
    assert entry.findtext("Owner/ID") == "1250000000"


def test_keys_that_xml_cannot_carry_need_the_encoding(shelf):
    put(shelf.objects, "a\x01\udcff", b"")
    assert shelf.all() == (["a\x01\udcff"], [])
    with pytest.raises(ServiceError, match="encoding-type=url"):
        shelf.page()


@pytest.mark.parametrize("params", [{"max_keys": "x"}, {"max_keys": "-1"}, {"encoding_type": "base64"}])
def test_list_parameters_that_are_malformed_are_refused(shelf, params):
    with pytest.raises(ServiceError, match=r"400 InvalidArgument: (max-keys|encoding-type) is"):
        shelf.page(**params)


def test_no_page_is_longer_than_a_thousand(shelf):
    assert shelf.page(max_keys=5000).findtext("MaxKeys") == "1000"
    put(shelf.objects, "a", b"")
    assert shelf.page(max_keys=0).find("Contents") is None


@pytest.mark.parametrize(
    ("prefix", "end"), [(b"", None), (b"a", b"b"), (b"a\xff", b"b"), (b"\xff\xff", None), (b"a/", b"a0")]
)
def test_the_first_key_after_a_prefix(prefix, end):
    assert after_prefix(prefix) == end
