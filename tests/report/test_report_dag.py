"""The picture of the plan: its boxes and arrows are the plan's, of this study and no other."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from flava.io import write_json
from flava.jobs import PlanGraph, PlanStage
from flava.report.dag import arrows_of, dag, layers, place
from flava.report.site import write_index
from tests.report.fake_study import PAPER, write_study
from workflow.graph import graph
from workflow.plan import Plan
from workflow.stages import needed, stages

SPACE = "{http://www.w3.org/2000/svg}"


def plan_of(study: str, seeds: int | None = None) -> Plan:
    return Plan.load(study, params=str(PAPER.parent), seeds=seeds)


def svg_of(content: str) -> ElementTree.Element:
    return ElementTree.fromstring(re.search(r"<svg.*</svg>", content, re.DOTALL)[0])


def ancestors(before: dict[str, list[str]], name: str) -> set[str]:
    return set(before[name]).union(*(ancestors(before, other) for other in before[name]))


@pytest.mark.parametrize("study", ["smoke", "toy", "paper"])
def test_boxes_and_arrows_are_those_of_the_plan(study: str) -> None:
    """What a stage's jobs read, directly or not, is what arrows lead from; none can be left out."""
    plan = plan_of(study)
    found = graph(plan)
    assert [stage.name for stage in found.stages] == [stage.name for stage in stages(plan)]
    jobs = sum(stage.total for stage in found.stages)
    assert jobs == len(needed(plan))
    arrows = arrows_of(found)
    for stage in stages(plan):
        others = [other for other in stages(plan) if set(other.targets) & set(stage.deps)]
        assert set(found.named()[stage.name].after) == {other.name for other in others}
        assert ancestors(arrows, stage.name) >= {other.name for other in others}
        for name in arrows[stage.name]:
            rest = [other for other in arrows[stage.name] if other != name]
            assert not any(name in ancestors(arrows, other) for other in rest)
    svg = svg_of(dag(found))
    titles = [n.text for n in svg.iter(f"{SPACE}text") if n.get("class") == "stage"]
    assert titles == [stage.name for stage in found.stages]
    assert len(list(svg.iter(f"{SPACE}rect"))) == len(found.stages)
    shown = [n for n in svg.iter(f"{SPACE}path") if n.get("class") == "arrow"]
    assert len(shown) == sum(map(len, arrows.values()))
    assert f"{jobs} jobs in {len(found.stages)} stages." in dag(found)


@pytest.mark.parametrize("study", ["smoke", "toy", "paper"])
def test_nothing_of_a_layer_overlaps(study: str) -> None:
    found = graph(plan_of(study))
    places = place(found, layers(found), 100)
    assert sum(not item[1] for _, item in places) == len(found.stages)
    for rank in {rank for rank, _ in places}:
        spots = sorted((p.y, p.height) for (r, _), p in places.items() if r == rank)
        for (y, height), (below, _) in pairwise(spots):
            assert y + height <= below
    for name, needed_ in arrows_of(found).items():  # every arrow leads to the right
        for before in needed_:
            x = {item[0]: spot.x for (_, item), spot in places.items() if not item[1]}
            assert x[before] < x[name]


def test_an_arrow_that_follows_from_others_is_left_out() -> None:
    def stage(name: str, *after: str) -> PlanStage:
        return PlanStage(name=name, jobs=[("rule", 1)], after=list(after))

    found = PlanGraph(stages=[stage("a"), stage("b", "a"), stage("c", "a", "b")])
    assert arrows_of(found) == {"a": [], "b": ["a"], "c": ["b"]}
    found.stages.append(stage("d", "a"))
    assert arrows_of(found)["d"] == ["a"]
    assert layers(found) == [[("a", "")], [("b", ""), ("a", "d")], [("c", ""), ("d", "")]]


def test_another_study_has_another_picture(tmp_path: Path) -> None:
    job = write_study(tmp_path, columns={"mim": 1})
    pages = []
    for plan in (plan_of("toy"), plan_of("toy", seeds=2), plan_of("smoke")):
        write_json(job.dag, graph(plan).model_dump())  # as the plan does: with sorted keys
        for _ in range(2):
            write_index(job)
            pages.append((tmp_path / "report" / "index.html").read_text(encoding="utf-8"))
    assert pages[0::2] == pages[1::2] and len(set(pages)) == 3
    toy, seeds, smoke = pages[0::2]
    assert ">column-flava_mm<" in toy and ">column-flava_mm<" not in smoke
    assert _count(toy, "column-mim") == 1 and _count(seeds, "column-mim") == 2


def _count(page: str, stage: str) -> int:
    return int(re.search(rf">{stage}</text><text[^>]*>(\d+)<", page)[1])


def test_names_are_escaped() -> None:
    stage = PlanStage(name="column-<b>&", jobs=[("rule", 1)], after=[])
    content = dag(PlanGraph(stages=[stage]))
    assert "column-&lt;b&gt;&amp;" in content and "<b>" not in content
    assert svg_of(content) is not None
