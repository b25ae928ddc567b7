"""Which records of the log are wanted?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.services.core.reporting.log_lines import LEVELS, read_record
from app.services.core.reporting.log_query import LogQuery, may_hold, wants
from app.utils.log_format import render_json, text_renderer

words = st.text(alphabet='aAbB1.-=" \\é\u202eß', max_size=6)


@given(
    text=words,
    component=st.text(alphabet="abAB.", max_size=3),
    level=st.sampled_from(["", *LEVELS]),
    request_id=st.sampled_from(["", "ab", "A1"]),
    event=st.fixed_dictionaries(
        {"event": words, "logger": st.text(alphabet="ab.", max_size=4), "level": st.sampled_from(LEVELS)},
        optional={"some": words, "request_id": st.sampled_from(["ab", "A1"]), "exception": words},
    ),
)
def test_the_quick_look_passes_whatever_is_wanted(text, component, level, request_id, event):
    query = LogQuery(level=level, component=component, text=text, request_id=request_id)
    for write in (render_json, text_renderer(colour=False)):
        line = write(None, "", {"timestamp": "2030-01-31T08:00:00Z", **event})
        if wants(query, read_record(line.split("\n")), None):
            assert may_hold(query, line.encode())


def test_the_quick_look_saves_reading_most_lines():
    line = b"2030-01-31T08:00:00Z INFO     request finished model=a request_id=r-1 (gateway.requests)"
    as_json = b'{"timestamp":"2030-01-31T08:00:00Z","level":"info","logger":"x","event":"y"}'
    assert not may_hold(LogQuery(level="warning"), line)
    assert not may_hold(LogQuery(level="warning"), as_json)
    assert not may_hold(LogQuery(level="warning"), as_json.replace(b":", b": ").replace(b",", b", "))
    assert may_hold(LogQuery(level="info"), as_json)
    assert not may_hold(LogQuery(request_id="r-2"), line)
    assert not may_hold(LogQuery(text="elsewhere"), line)
    assert may_hold(LogQuery(level="info", request_id="r-1", text="FINISHED", component="Gateway"), line)
