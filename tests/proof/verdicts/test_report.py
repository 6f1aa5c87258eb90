"""The report as JSON and as JUnit XML."""

import json
from xml.etree import ElementTree

import maskwork as mw
from maskwork.proof.zoo import mutants, tokens

IDS = tokens(24, 0)


def test_the_report_as_junit():
    leaky = next(m for m in mutants() if m.name == "no mask in layer 0").build()
    report = mw.audit(leaky, IDS, checks=["mask", "batch"])
    suite = ElementTree.fromstring(report.to_junit("a & b").encode())
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("a & b", "2", "1")
    assert [case.get("name") for case in suite] == ["mask", "batch"]
    assert "blocks.0.attention" in suite[0][0].text


def test_report_as_json():
    leaky = next(m for m in mutants() if m.name == "no mask in layer 0").build()
    report = mw.audit(leaky, IDS, checks=["mask"])
    data = json.loads(report.to_json())
    assert data["ok"] is False
    assert data["findings"][0]["cause"] == "no_mask"
    assert data["checks"] == {"mask": "leak"}
