"""What does the log say?"""

from __future__ import annotations

import io
import logging
import os
from datetime import UTC, datetime, timedelta

import pytest

from app.services.core.errors import FieldsInvalid, NotAllowed
from app.services.core.keys import Principal, Role
from app.services.core.reporting.log_query import LogQuery
from app.services.log_reader import LogReader
from app.utils.log_redaction import Redactor
from app.utils.log_sinks import ConsoleSink, FileSink
from app.utils.logger import bind_request_id, configure_logging, get_logger

OPERATOR = Principal("admin", "operator", Role.ADMIN)
START = datetime(2030, 1, 31, 8, 0, tzinfo=UTC)
ALL = LogQuery()


@pytest.fixture
def log(tmp_path):
    return tmp_path / "logs" / "gateway.log"


@pytest.fixture
def put_back_logging(monkeypatch):
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    for handler in [handler for handler in handlers if isinstance(handler, ConsoleSink | FileSink)]:
        root.removeHandler(handler)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    yield
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


def reader(path, **options):
    return LogReader(path, backup_count=5, redactor=Redactor(["a-known-secret-value"]), rest=lambda: None, **options)


def line(number, *, level="INFO", text="Something happened", component="gateway", more=""):
    moment = (START + timedelta(seconds=number)).isoformat().replace("+00:00", "Z")
    return f"{moment} {level:<8} {text} number={number}{more} ({component})\n".encode()


def written(path, data):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


def sink(path, max_bytes):
    def fail(error):
        raise error

    return FileSink(path, max_bytes=max_bytes, backup_count=5, on_failure=fail)


def numbers(page):
    return [int(dict(record.fields)["number"]) for record in page.records]


async def walked(log_reader, query):
    """All pages, from the newest back."""
    pages = [await log_reader.page(OPERATOR, query)]
    while pages[-1].older:
        assert len(pages) < 1000
        pages.append(await log_reader.page(OPERATOR, query, pages[-1].older))
    return pages


async def test_what_the_logger_writes_is_read_newest_first(put_back_logging, log):
    configure_logging(file=log)
    logger = get_logger("gateway.some")
    logger.info("First", server_id="a b")
    with bind_request_id("req-7"):
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            logger.exception("Broke")
    configure_logging(file=log, log_format="json")
    logging.getLogger("other").warning("of %s", "others")
    page = await reader(log).page(OPERATOR, ALL)
    assert [record.text for record in page.records] == ["of others", "Broke", "First"]
    assert [record.level for record in page.records] == ["warning", "error", "info"]
    assert page.records[1].detail.endswith("ZeroDivisionError: division by zero")
    assert page.records[1].request_id == "req-7"
    assert (page.older, page.note) == ("", "")


@pytest.mark.parametrize(("most_bytes", "limit"), [(300, 1), (300, 7), (1000, 100), (70_000, 7), (8_000_000, 100)])
async def test_pages_go_back_through_all_files_and_miss_nothing(log, most_bytes, limit):
    file = sink(log, 8_000)
    for number in range(300):
        file.write_lines(line(number, more=' x="' + "y" * (number % 90) + '"'))
    file.close()
    assert len(list(log.parent.iterdir())) >= 4
    kept = sum(path.read_bytes().count(b"\n") for path in log.parent.iterdir())
    pages = await walked(reader(log, most_bytes=most_bytes), LogQuery(limit=limit))
    assert [number for page in pages for number in numbers(page)] == list(range(299, 299 - kept, -1))


async def test_lines_longer_than_a_call_may_read_come_in_pieces(log):
    written(log, line(1) + b"z" * 5000 + b"\n" + line(2))
    pages = await walked(reader(log, most_bytes=700), ALL)
    texts = [record.text for page in pages for record in page.records]
    assert texts[0] == texts[-1] == "Something happened"
    assert "".join(texts[1:-1]) == "z" * 5000


async def test_a_traceback_stays_with_its_event_wherever_a_call_ends(log):
    traceback = b"".join(b"    | frame %d\n" % number for number in range(20))
    written(log, b"".join(line(number, level="ERROR") + traceback for number in range(20)))
    for most_bytes in (500, 701, 1024):
        records = [record for page in await walked(reader(log, most_bytes=most_bytes), ALL) for record in page.records]
        assert [dict(record.fields)["number"] for record in records] == [str(number) for number in range(19, -1, -1)]
        assert all(record.detail.count("\n") == 19 for record in records)


async def test_a_cursor_stays_good_when_the_file_is_rotated(log):
    file = sink(log, 4_000)
    for number in range(40):
        file.write_lines(line(number))
    first = await reader(log).page(OPERATOR, LogQuery(limit=5))
    for number in range(40, 150):
        file.write_lines(line(number))
    file.close()
    second = await reader(log).page(OPERATOR, LogQuery(limit=5), first.older)
    assert numbers(first) == [39, 38, 37, 36, 35]
    assert numbers(second) == [34, 33, 32, 31, 30]


async def test_a_cursor_into_what_is_gone_says_so(log):
    file = sink(log, 1_000)
    for number in range(12):
        file.write_lines(line(number))
    first = await reader(log).page(OPERATOR, LogQuery(limit=2))
    for number in range(12, 400):
        file.write_lines(line(number))
    file.close()
    page = await reader(log).page(OPERATOR, LogQuery(limit=2), first.older)
    assert page.records == ()
    assert page.older == ""
    assert "LOG_BACKUP_COUNT" in page.note


async def test_another_file_with_the_same_inode_is_told_apart(log):
    written(log, b"".join(line(number) for number in range(10)))
    first = await reader(log).page(OPERATOR, LogQuery(limit=2))
    with log.open("r+b") as file:  # keeps the inode
        file.write(b"".join(line(number) for number in range(100, 110)))
    page = await reader(log).page(OPERATOR, ALL, first.older)
    assert page.records == ()
    assert page.note


async def test_tail_gives_what_came_since_over_a_rotation(log):
    file = sink(log, 2_000)
    file.write_lines(line(0))
    log_reader = reader(log)
    newest = (await log_reader.page(OPERATOR, ALL)).newest
    assert (await log_reader.tail(OPERATOR, ALL, newest)).records == ()
    for number in range(1, 60):
        file.write_lines(line(number))
        if number % 7 == 0:
            page = await log_reader.tail(OPERATOR, ALL, newest)
            assert numbers(page) == list(range(number, number - 7, -1))
            assert not page.is_cut
            assert not page.is_anew
            newest = page.newest
    file.close()


async def test_tail_waits_for_the_end_of_a_line(log):
    written(log, line(0))
    log_reader = reader(log)
    newest = (await log_reader.page(OPERATOR, ALL)).newest
    with log.open("ab") as file:
        file.write(line(1) + line(2)[:30])
    page = await log_reader.tail(OPERATOR, ALL, newest)
    assert numbers(page) == [1]
    with log.open("ab") as file:
        file.write(line(2)[30:])
    assert numbers(await log_reader.tail(OPERATOR, ALL, page.newest)) == [2]


async def test_tail_gives_the_newest_where_much_came(log):
    written(log, line(0))
    log_reader = reader(log, most_bytes=2_000)
    newest = (await log_reader.page(OPERATOR, ALL)).newest
    with log.open("ab") as file:
        file.write(b"".join(line(number) for number in range(1, 500)))
    by_count = await log_reader.tail(OPERATOR, LogQuery(limit=3), newest)
    by_bytes = await log_reader.tail(OPERATOR, ALL, newest)
    assert numbers(by_count) == [499, 498, 497]
    assert numbers(by_bytes)[0] == 499
    assert by_count.is_cut
    assert by_bytes.is_cut
    assert (await log_reader.tail(OPERATOR, ALL, by_bytes.newest)).records == ()


async def test_tail_of_a_place_that_is_gone_begins_anew(log):
    written(log, line(0))
    log_reader = reader(log)
    newest = (await log_reader.page(OPERATOR, ALL)).newest
    log.unlink()
    assert "There is no log" in (await log_reader.tail(OPERATOR, ALL, newest)).note
    written(log, line(7))
    page = await log_reader.tail(OPERATOR, ALL, newest)
    assert numbers(page) == [7]
    assert page.is_anew


async def test_tail_follows_from_an_empty_file(log):
    written(log, b"")
    log_reader = reader(log)
    page = await log_reader.page(OPERATOR, ALL)
    with log.open("ab") as file:
        file.write(line(1))
    assert numbers(await log_reader.tail(OPERATOR, ALL, page.newest)) == [1]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"level": "warning"}, [4, 3]),
        ({"level": "debug"}, [5, 4, 3, 2, 1, 0]),
        ({"component": "REQUESTS"}, [1]),
        ({"text": "SOMETHING"}, [5, 4, 2, 0]),
        ({"text": "a.b(c"}, [3]),
        ({"text": "model=big"}, [1]),
        ({"text": "é"}, [5]),
        ({"text": "division by"}, [4]),
        ({"request_id": "req-1"}, [1]),
        ({"request_id": "req"}, []),
        ({"since": START + timedelta(seconds=3)}, [5, 4, 3]),
        ({"until": START + timedelta(seconds=3)}, [2, 1, 0]),
        ({"since": START + timedelta(seconds=1), "until": START + timedelta(seconds=3)}, [2, 1]),
        ({"level": "error", "text": "nothing of that"}, []),
    ],
)
async def test_what_is_wanted(log, query, found):
    written(
        log,
        line(0)
        + line(1, text="request finished", component="gateway.requests", more=" model=big request_id=req-1")
        + line(2)
        + line(3, level="WARNING", text="of a.b(c)")
        + line(4, level="ERROR")
        + b"    | ZeroDivisionError: division by zero\n"
        + line(5, more=' name="\\u00c9"'),
    )
    assert numbers(await reader(log).page(OPERATOR, LogQuery(**query))) == found


@pytest.mark.parametrize("until", [0, 9, 4_000, 29_999, 50_000])
async def test_an_old_time_is_found_without_reading_all_that_is_newer(log, until):
    written(log, b"".join(line(number, more=" x=" + "y" * 100) for number in range(30_000)))
    query = LogQuery(until=START + timedelta(seconds=until), limit=3)
    page = await reader(log, most_bytes=700_000).page(OPERATOR, query)
    expected = min(until, 30_000) - 1
    assert numbers(page) == [number for number in range(expected, expected - 3, -1) if number >= 0]


async def test_going_back_ends_where_the_time_is_past(log):
    written(log, b"".join(line(number, more=" x=" + "y" * 100) for number in range(30_000)))
    query = LogQuery(since=START + timedelta(seconds=29_990), limit=100)
    page = await reader(log, most_bytes=100_000).page(OPERATOR, query)
    assert numbers(page) == list(range(29_999, 29_989, -1))
    assert (page.older, page.note) == ("", "")


async def test_a_search_that_takes_long_says_how_far_it_came(log):
    written(log, line(0, text="the needle") + b"".join(line(number) for number in range(1, 2000)))
    log_reader = reader(log, most_bytes=100_000)
    first = await log_reader.page(OPERATOR, LogQuery(text="the needle", since=START))
    assert first.records == ()
    assert first.note.startswith("Looked through 0.0954 MiB of the log back to 2030-01-31 08:")
    second = await log_reader.page(OPERATOR, LogQuery(text="the needle"), first.older)
    assert numbers(second) == [0]
    assert second.older == ""


async def test_garbage_is_shown_and_breaks_nothing(log):
    written(log, line(1) + b"\x00\xff\xfe\x1b[31m\xe2\x80\xae\r\n\n\n" + os.urandom(200_000) + b"\n" + line(2))
    pages = await walked(reader(log), LogQuery(limit=10_000))
    texts = [record.text for page in pages for record in page.records]
    assert texts[0] == texts[-1] == "Something happened"
    assert texts[-2] == "\\x00\\xff\\xfe\\x1b[31m\\u202e"
    assert all(text.isprintable() for text in texts)


async def test_lines_without_a_time_count_by_their_neighbour(log):
    written(log, line(0) + b"odd\n" + line(100))
    query = LogQuery(since=START + timedelta(seconds=50))
    assert [record.text for record in (await reader(log).page(OPERATOR, query)).records] == [
        "Something happened",
        "odd",
    ]


async def test_a_huge_line_is_cut(log):
    written(log, line(1, text="x" * 3_000_000))
    (record,) = (await reader(log).page(OPERATOR, ALL)).records
    assert record.time is not None
    assert len(record.text) < 5_000


async def test_secrets_are_masked_and_can_not_be_searched_for(log):
    written(log, line(1, text="of mvk_abcdefgh1234", more=' api_key=hidden note="a-known-secret-value"'))
    log_reader = reader(log)
    (record,) = (await log_reader.page(OPERATOR, ALL)).records
    assert record.text == "of mvk_[redacted]"
    assert dict(record.fields) == {"number": "1", "api_key": "[redacted]", "note": "[redacted]"}
    assert (await log_reader.page(OPERATOR, LogQuery(text="mvk_abcd"))).records == ()
    assert (await log_reader.page(OPERATOR, LogQuery(text="hidden"))).records == ()


async def test_a_missing_log_is_told(log):
    page = await reader(log).page(OPERATOR, ALL)
    assert page.records == ()
    assert page.newest == ""
    assert f"There is no log at {log} yet" in page.note


async def test_a_log_that_can_not_be_read_is_told(log):
    log.mkdir(parents=True)
    page = await reader(log).page(OPERATOR, ALL)
    assert page.records == ()
    assert "can't be read: Is a directory" in page.note


@pytest.mark.parametrize(
    "principal",
    [
        Principal("u", "user", Role.USER),
        Principal("o", "owner", Role.OWNER),
        Principal("g", "group's admin", Role.ADMIN, group="lab"),
    ],
)
async def test_only_the_operator_reads_the_log(log, principal):
    with pytest.raises(NotAllowed):
        await reader(log).page(principal, ALL)
    with pytest.raises(NotAllowed):
        await reader(log).tail(principal, ALL, "")


@pytest.mark.parametrize("cursor", ["x", "1.2", "1.2.3.4", "-1.0.0", "1.2.3\n", "٣.1.1", "f" * 4000])
async def test_a_cursor_that_is_none_is_refused(log, cursor):
    with pytest.raises(FieldsInvalid):
        await reader(log).page(OPERATOR, ALL, cursor)
    with pytest.raises(FieldsInvalid):
        await reader(log).tail(OPERATOR, ALL, cursor)


async def test_who_reads_lets_others_run_between(log):
    written(log, b"".join(line(number) for number in range(5000)))
    rests = []
    log_reader = LogReader(log, backup_count=1, redactor=Redactor(), rest=lambda: rests.append(1))
    await log_reader.page(OPERATOR, LogQuery(text="not = there"))
    assert rests
