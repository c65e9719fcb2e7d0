"""Checks the files of Grafana and Jaeger in deploy/observe: `python -m e2e.check_observed`. Neither has to run.

The dashboard is parsed into the types that Grafana publishes, and Jaeger's configuration is compared with the one that
Jaeger has built in. promtool checks the files of Prometheus.
"""

import json
import warnings
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from .observed import DASHBOARD, DIRECTORY, dashboard, dashboard_queries, rules

_ROOT = DIRECTORY.parents[1]


def main() -> None:
    check_dashboard()
    check_provisioning()
    check_traces()
    check_operations()
    panels = sum(panel["type"] != "row" for panel in dashboard()["panels"])
    queries = len(dashboard_queries())
    print(f"observe: {panels} panels, {queries} queries and Jaeger's file are valid; Grafana and Jaeger did not run")


def check_dashboard() -> None:
    """Insists that Grafana's types know all that the dashboard says, and that each panel has a place of its own."""
    with warnings.catch_warnings():
        # It advises to use the second version of the schema, which is not the one that files are provisioned in.
        warnings.simplefilter("ignore", DeprecationWarning)
        from grafana_foundation_sdk.cog.encoder import JSONEncoder
        from grafana_foundation_sdk.cog.plugins import register_default_plugins
        from grafana_foundation_sdk.models.dashboard import Dashboard
    register_default_plugins()
    parsed = Dashboard.from_json(dashboard())
    known = json.loads(JSONEncoder().encode(parsed))
    assert (unknown := list(missing(dashboard(), known))) == [], f"{DASHBOARD.name}: Grafana does not know {unknown}"
    for panel in parsed.panels or []:
        assert fits(panel, type(panel)), f"{DASHBOARD.name}: a value of the wrong type in the panel {panel.title!r}"
    assert fits(parsed, Dashboard), f"{DASHBOARD.name}: a value of the wrong type"

    panels = dashboard()["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids), f"{DASHBOARD.name}: two panels have one id"
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells), f"{DASHBOARD.name}: two panels overlap"
    assert max(x for x, _ in cells) < 24, f"{DASHBOARD.name}: a panel is wider than the page"


def missing(said: object, known: object, path: str = "") -> Iterator[str]:
    """The paths of what `said` has and `known` has not, or has otherwise."""
    if isinstance(said, dict) and isinstance(known, dict):
        for name, value in said.items():
            if name in known:
                yield from missing(value, known[name], f"{path}/{name}")
            else:
                yield f"{path}/{name}"
    elif isinstance(said, list) and isinstance(known, list) and len(said) == len(known):
        for index, (value, other) in enumerate(zip(said, known, strict=True)):
            yield from missing(value, other, f"{path}/{index}")
    elif said != known:
        yield path


def fits(value: object, expected: Any) -> bool:  # noqa: ANN401, any type or form of typing
    """Whether a value is of the type that Grafana's models declare. Parsing does not check that."""
    origin, arguments = get_origin(expected), get_args(expected)
    if origin is Union:
        return any(fits(value, one) for one in arguments)
    if isinstance(value, (list, dict)):
        items = value.values() if isinstance(value, dict) else value
        return origin is type(value) and all(fits(item, arguments[-1]) for item in items)
    if origin is not None:
        return origin is Literal and value in arguments
    if isinstance(expected, type) and issubclass(expected, Enum):
        return value in list(expected)
    anything = expected in (Any, object)
    if type(value).__module__.startswith("grafana_foundation_sdk.models"):
        fields = get_type_hints(type(value)).items()
        return (anything or isinstance(value, expected)) and all(fits(getattr(value, name), of) for name, of in fields)
    of_kind = (float, int) if expected is float else expected
    return anything or (isinstance(value, of_kind) and isinstance(value, bool) == (expected is bool))


def check_provisioning() -> None:
    """Insists that the dashboard's sources are provisioned, and that what is provisioned is where it is mounted."""
    services = yaml.safe_load((_ROOT / "compose.observe.yaml").read_text())["services"]
    provisioning = DIRECTORY / "grafana" / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "fibwire.yaml").read_text())["datasources"]
    panels = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
    targets = [target for panel in panels for target in panel["targets"]]
    asked = {asking["datasource"]["uid"] for asking in (*panels, *targets, *dashboard()["annotations"]["list"])}
    assert asked <= {source["uid"] for source in sources}, f"{asked} are not all provisioned"
    for source in sources:
        host = source["url"].removeprefix("http://").partition(":")[0]
        assert host in services, f"{source['url']} is no service of compose.observe.yaml"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "fibwire.yaml").read_text())["providers"]
    mounts = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    assert mounts[f"./{DASHBOARD.parent.relative_to(_ROOT)}"] == provider["options"]["path"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/{DASHBOARD.name}"


def check_traces() -> None:
    """Insists that Jaeger knows every setting of jaeger.yaml, and that each name in it stands for something there."""
    services = yaml.safe_load((_ROOT / "compose.observe.yaml").read_text())["services"]
    _, _, version = services["jaeger"]["image"].partition(":")
    built_in = yaml.safe_load((Path(__file__).parent / "testdata" / f"jaeger-{version}.yaml").read_text())
    said = yaml.safe_load((DIRECTORY / "jaeger.yaml").read_text())
    # The one name in it that can be chosen freely.
    (storage,) = said["extensions"]["jaeger_storage"]["backends"]
    backends = built_in["extensions"]["jaeger_storage"]["backends"]
    backends[storage] = backends.pop("some_storage")
    unknown = sorted(settings(said) - settings(built_in))
    assert not unknown, f"jaeger.yaml: Jaeger {version} does not have {unknown}"

    service = said["service"]
    assert set(service["extensions"]) == said["extensions"].keys(), "jaeger.yaml: an extension is not used"
    for pipeline in service["pipelines"].values():
        for kind, names in pipeline.items():
            assert set(names) == said[kind].keys(), f"jaeger.yaml: not all {kind} are used, or some are missing"
    stores = said["exporters"]["jaeger_storage_exporter"]["trace_storage"]
    shows = said["extensions"]["jaeger_query"]["storage"]["traces"]
    assert stores == shows == storage, "jaeger.yaml: traces are not read where they are stored"


def settings(said: object, path: str = "") -> set[str]:
    """The paths of all settings."""
    if not isinstance(said, dict):
        return set()
    return {f"{path}/{name}" for name in said}.union(*(settings(of, f"{path}/{name}") for name, of in said.items()))


def check_operations() -> None:
    """Insists that docs/operations.md explains every alert, and no others."""
    _, _, after = (_ROOT / "docs" / "operations.md").read_text().partition("## What each alert means")
    section, _, _ = after.partition("\n## ")
    explained = {line.split("`")[1] for line in section.splitlines() if line.startswith("| `")}
    alerts = {rule["alert"] for rule in rules()}
    assert explained == alerts, f"docs/operations.md: {explained ^ alerts}"


if __name__ == "__main__":
    main()
