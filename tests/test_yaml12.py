"""One reader of YAML: numbers of YAML 1.2, nothing twice, nothing in two ways, and every mistake with its line."""

import os
import random

import pytest
import yaml
from conftest import ROOT

from dp import yaml12
from dp.errors import UserError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("[Null, true, FALSE]", [None, True, False]),
        ("[8, -3, 08, 0o10, 0x1F]", [8, -3, 8, 8, 31]),
        ("[1e-1, 3e5, .5, 1., +.5e3, 0.3]", [0.1, 3e5, 0.5, 1.0, 500.0, 0.3]), ("'010'", "010"), ("!!str 010", "010"),
        ("'yes'", "yes"), ("a b", "a b"), ("\ufeffa: é", {"a": "é"}), ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}",
        {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("a: &x {b: 1}\ne: &y {b: 2, c: 2}\nd: {<<: [*x, *y]}",
        {"a": {"b": 1}, "e": {"b": 2, "c": 2}, "d": {"b": 1, "c": 2}}),
        ("a: &x {b: 1}\nd: &y {<<: *x, b: 2}\ne: {<<: *y, b: 3}", {"a": {"b": 1}, "d": {"b": 2}, "e": {"b": 3}}),
    ],
)  # fmt: skip
def test_values_are_those_of_the_core_schema(text, value):
    found = yaml12.parse(text.encode(), "f")
    assert found == value and repr(found) == repr(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", "f, line 3: a: stands there twice, first in line 1; keep one of them."),
        ("t:\n  a: {b: 1, b: 2}", "line 2: t.a.b: stands there twice, first in line 2"),
        ("t:\n- a: 1\n  a: 1", "line 3: t.0.a: stands there twice"),
        ("x: &x {a: 1}\ny:\n  <<: *x\n  <<: *x", "line 4: y.<<: stands there twice"),
        ("s: [010]", "line 1: s.0: 010 is an octal number in YAML 1.1 and a decimal one in YAML 1.2"),
        ("s: 1:30", "1:30 is a whole number in YAML 1.1 and a word in YAML 1.2"),
        ("s: 1:30.5", "is a number in YAML 1.1"),
        ("s: 1_000", "is a whole number in YAML 1.1"),
        ("s: 0b11", "is a whole number in YAML 1.1"),
        ("s: yes", "yes is true or false in YAML 1.1"),
        ("s: [1, Off]", "s.1: Off is true or false in YAML 1.1"),
        ("no: 1", "no is true or false in YAML 1.1"),
        ("s: 2024-01-02", "is a date in YAML 1.1"),
        ("s: 2024-13-45", "is a date in YAML 1.1"),
        ("a: 1\n# not\u2028b: 2", "line 2: U+2028 ends a line in YAML 1.1 and not in YAML 1.2"),
        ("a: b\x85c: d", "line 1: U+0085 ends a line"),
        ("s: =", "is a default value in YAML 1.1"),
        ("\ns: .inf", "line 2: s: .inf is no finite number"),
        ("s: -.INF", "no finite number"),
        ("s: .nan", "no finite number"),
        ("s: 1e999", "no finite number"),
        (f"s: {'9' * 5000}", "(5,000 characters) does not fit in 64 bits"),
        (f"s: {2**63}", "does not fit in 64 bits"),
        ("[" * 3000, "is nested more than 50 levels deep"),
        ("{a: " * 3000, "is nested more than 50 levels deep"),
        ("- " * 3000, "is nested more than 50 levels deep"),
        ("&a [*a]", "or an alias within itself"),
        ("&a {b: *a}", "or an alias within itself"),
        ("&a {<<: *a}", "or an alias within itself"),
        ("a: [*b]", "is not valid YAML: found undefined alias 'b'"),
        ("a: [", "line 1: is not valid YAML"),
        ("a: 1\n b: 2", "line 2: is not valid YAML"),
        ("--- 1\n--- 2", "line 2: is not valid YAML: expected a single document"),
        ('a: "\\ud83d"', "half of a surrogate pair"),
        ('a: "\\UFFFFFFFF"', "is not valid YAML"),
        ("a\n\x00: 1", "line 2: holds the character '\\x00'"),
        ("1: a", "a key must be a word, not 1"),
        ("? [a]\n: 1", "a key must be a word, not a list or mapping"),
        ("<<: [1]", "<<: merges what is no mapping"),
        ("a: !!int b", "b is not what its tag"),
        ("a: !!timestamp 2024-01-01", "is not what its tag"),
        ("a: !!python/object:os.system {}", "the tag tag:yaml.org,2002:python/object:os.system means nothing here"),
        ("a: !!set {b}", "means nothing here"),
    ],
)  # fmt: skip
def test_what_can_be_read_in_two_ways_or_in_none_is_named_with_its_line(text, words):
    with pytest.raises(UserError) as error:
        yaml12.parse(text, "f")
    said = str(error.value)
    assert said.startswith("f, line ") and words in said
    assert "\n" not in said and len(said) < 600


def test_aliases_count_in_full():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(UserError, match="more than 100,000 values"):
        yaml12.parse("\n".join(lines), "f")


def test_files_are_utf8_and_of_a_size(tmp_path):
    path = tmp_path / "f.yaml"
    for data, words in (
        ("a: 1\nb: é".encode("latin-1"), "f.yaml, line 2: is not UTF-8 (byte 0xe9); save it as UTF-8."),
        ("a: 1".encode("utf-16"), "f.yaml, line 1: is not UTF-8 (byte 0xff)"),
        (b"# " + b"x" * yaml12.BYTES, "f.yaml is larger than 1,000,000 bytes"),
    ):
        path.write_bytes(data)
        with pytest.raises(UserError) as error:
            yaml12.read(path)
        assert words in str(error.value)
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        yaml12.read(tmp_path)
    with pytest.raises(UserError, match="cannot be read: File name too long"):
        yaml12.read(tmp_path / ("x" * 300))
    with pytest.raises(FileNotFoundError):
        yaml12.read(tmp_path / "none.yaml")


def test_every_file_of_the_project_means_what_it_meant():
    found = [path for top in ("dp", "workflow", "profiles") for path in (ROOT / top).rglob("*.yaml")]
    assert len(found) > 30
    for path in [*found, ROOT / "params.yaml", ROOT / "dvc.yaml"]:
        assert yaml12.read(path) == yaml.safe_load(path.read_text()), path


def test_a_dump_is_read_as_it_was_by_either_version():
    words = ["7e12345", "1e5", "010", "08", "0o10", "yes", "2024-01-01", "null", "~", ".5", "1_000", "a: b", "é", "-",
             "", "+1", "0x1f", "1:30", "=", "<<", ".inf", "main",
             "a\u2028b", "a\x85: b", "\u2029"]  # fmt: skip
    value = {"words": words, "values": [1, 0.5, 1e5, None, True, {}]} | dict.fromkeys(words, 1)
    text = yaml12.dump(value)
    assert yaml12.parse(text, "f") == yaml.safe_load(text) == value


def test_whatever_the_bytes_it_is_a_value_or_a_mistake():
    draw = random.Random(0)
    whole = (ROOT / "params.yaml").read_bytes()[:3000]
    for _ in range(100):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 8)):
            data[draw.randrange(len(data))] = draw.choice(b"{}[]:,-#&*!|>'\"%@`\\ \n\t\x00\xff019eE.~<=")
        try:
            yaml12.parse(bytes(data), os.devnull)
        except UserError as error:
            assert "\n" not in str(error)
