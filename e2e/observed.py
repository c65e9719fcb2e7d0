"""The queries of deploy/observe, and the answers of a running Prometheus."""

import json
import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import yaml

DIRECTORY = Path(__file__).parents[1] / "deploy" / "observe"
DASHBOARD = DIRECTORY / "grafana" / "dashboards" / "fibwire.json"

# What Grafana would put in place of its variable: at least four scrapes.
_RATE_INTERVAL = "20s"
_ANSWER_S = 10


@dataclass(frozen=True)
class Query:
    """An expression and where it is."""

    place: str
    expression: str

    def __str__(self) -> str:
        return self.place


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples that an expression has now."""
        data: dict[str, Any] = self._get("query", query=expression)
        samples: list[dict[str, Any]] = data["result"]
        return samples

    def values(self, expression: str) -> list[float]:
        """The values that an expression has now. At least one, and no NaN, which stands for "nothing to divide"."""
        values = [float(sample["value"][1]) for sample in self.query(expression)]
        assert values, f"{expression} returns nothing"
        assert not any(map(math.isnan, values)), f"{expression} returns {values}"
        return values

    def targets(self) -> list[dict[str, Any]]:
        """The targets that it scrapes."""
        targets: list[dict[str, Any]] = self._get("targets", state="active")["activeTargets"]
        return targets

    def firing(self) -> dict[str, list[dict[str, str]]]:
        """The labels of the alerts that fire, by name."""
        firing: dict[str, list[dict[str, str]]] = {}
        for alert in self._get("alerts")["alerts"]:
            if alert["state"] == "firing":
                firing.setdefault(alert["labels"]["alertname"], []).append(alert["labels"])
        return firing

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=_ANSWER_S, trust_env=False)
        assert answer.status_code == 200, f"{parameters}: {answer.status_code} {answer.text}"
        data: dict[str, Any] = answer.json()["data"]
        return data


@cache
def dashboard() -> dict[str, Any]:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return dashboard


def dashboard_queries() -> list[Query]:
    """The queries of the dashboard, with Grafana's variable filled in."""
    return [
        Query(f"{panel['title']} {target['refId']}", target["expr"].replace("$__rate_interval", _RATE_INTERVAL))
        for panel in dashboard()["panels"]
        for target in panel.get("targets", [])
    ]


def annotations() -> list[Query]:
    """The queries of the marks in the dashboard's graphs."""
    return [Query(annotation["name"], annotation["expr"]) for annotation in dashboard()["annotations"]["list"]]


def rules() -> list[dict[str, Any]]:
    """The rules of the alerts."""
    groups = yaml.safe_load((DIRECTORY / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def measured(rule: dict[str, Any]) -> Query:
    """The expression that a rule compares with its threshold."""
    split = re.fullmatch(r"(.+) (?:==|>|<) [\d.]+", rule["expr"], re.DOTALL)
    assert split is not None, f"{rule['alert']} compares with no number: {rule['expr']}"
    return Query(rule["alert"], split[1])
