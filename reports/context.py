"""Everything the page and the Markdown show, gathered once from manifest, records and verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fixtures.records import Record, Verdict, label
from reports import components, curves, figures, heat, likeness, task_strips
from reports.accuracy import AccuracyTable, accuracy_table
from reports.amounts import PlainTable, plain_tables
from reports.answer import Answer, answers, controls_note
from reports.confidence import ConfidenceTable, confidence_tables
from reports.costs import Cost, costs
from reports.distilled import DistilledTable, distilled_tables, is_image
from reports.distilled_figure import distilled_reliability
from reports.drawing import Drawing
from reports.groups import Group
from reports.headline import Headline, headlines, of_setting
from reports.heat import HeatMap
from reports.notes import notes
from reports.perplexities import PerplexityTable, perplexity_tables
from reports.reliability import reliability_drawings
from reports.tables import Table, make_tables
from reports.terminal import ORDER

SURENESS = ("yes", "partly", "no", "refused", "open")
DRAWN_MODELS = 8  # figures of more models would make the page heavy; their numbers are in the tables and the CSV


MAKERS = (
    figures.by_source,
    figures.every_draw,
    components.variance_components,
    likeness.drawing,
    curves.sparsity_curves,
    curves.amount_curves,
)


@dataclass
class Section:
    """One model on one outcome."""

    table: Table
    answers: list[Answer]
    drawings: list[Drawing] = field(default_factory=list)
    heat: list[HeatMap] = field(default_factory=list)
    components: list[components.Components] = field(default_factory=list)
    correlations: list[likeness.Correlation] = field(default_factory=list)
    plain: list[PlainTable] = field(default_factory=list)

    @property
    def blocks(self) -> list[tuple[str, list[Answer], str]]:
        """(setting, its answers, the answer in a line), the main one first: other amounts stand apart."""
        settings = dict.fromkeys([*self.table.settings, *(a.setting for a in self.answers)])
        found = ((setting, [a for a in self.answers if a.setting == setting]) for setting in settings)
        return [(setting, members, of_setting(self.table, setting)) for setting, members in found if members]

    @property
    def unconfirmed(self) -> bool:
        """Whether every source gate that names a source is refused."""
        gates = [answer.gate for answer in self.answers if answer.source]
        return bool(gates) and set(gates) == {"refused"}

    @property
    def decided(self) -> int:
        """Rank in the page: what was decided most surely comes first."""
        return min((SURENESS.index(answer.sure) for answer in self.answers), default=len(SURENESS))


@dataclass
class Context:
    manifest: dict[str, Any]
    headlines: list[Headline]
    sections: list[Section]
    verdicts: list[Verdict]
    counts: Counter[str]
    costs: list[Cost]
    perplexities: list[PerplexityTable]
    accuracies: list[AccuracyTable]
    confidence: list[ConfidenceTable]
    reliability: list[Drawing]
    dispersion: list[Drawing]
    distilled: list[DistilledTable]
    distilled_drawings: list[Drawing]
    notes: list[str]
    provenance: list[tuple[str, str]]
    licences: list[dict[str, Any]]
    records: int
    planned: int
    groups: list[Group]

    @property
    def gate_counts(self) -> str:
        found = ", ".join(f"{self.counts[o]} {o}" for o in ORDER if self.counts[o])
        return f"Gates: {found}." if found else "No gate was judged."

    @property
    def machine(self) -> list[Verdict]:
        """Null controls: cases that were made again."""
        return [v for v in self.verdicts if v.gate in ("repeat", "noise_floor")]

    @property
    def licence_columns(self) -> list[str]:
        """What a licence is of comes first, whatever the order in the manifest."""
        names = list(dict.fromkeys(name for row in self.licences for name in row))
        return sorted(names, key=lambda name: ("holds", "name").index(name) if name in ("holds", "name") else 2)

    @property
    def gate_blocks(self) -> list[tuple[str, list[Verdict]]]:
        """Verdicts by outcome, failures first, without those of the machine, which have a table of their own."""
        own = {id(v) for v in self.machine}
        found = ((o, [v for v in self.verdicts if v.outcome == o and id(v) not in own]) for o in ORDER)
        return [(outcome, members) for outcome, members in found if members]

    @property
    def common(self) -> tuple[str, ...]:
        """What every case shares and names leave out."""
        return self.groups[0].common if self.groups else ()

    @property
    def measured(self) -> str:
        """What the losses and tasks of every case are measured on; empty where cases differ."""
        specs = [case["evaluation"] for case in self.manifest["cases"]]
        spec = specs[0] if specs and all(other == specs[0] for other in specs) else {}
        parts = []
        if spec.get("domains"):
            domains = ", ".join(map(label, spec["domains"]))
            parts.append(f"loss on {spec['documents']} held-out documents each of {domains}")
        if spec.get("tasks"):
            parts.append(f"{spec['items'] or 'all'} items each of {', '.join(spec['tasks'])}")
        return f"Measured: {'; '.join(parts)}." if parts else ""

    @property
    def to_save(self) -> str:
        """Id of a case whose model a reader may want: the first draw of a source that the first answer names."""
        for answer in (answer for section in self.sections for answer in section.answers if answer.source):
            for case in self.manifest["cases"]:
                if case["method"] == answer.method and case["draw"] and label(case["draw"]["source"]) == answer.source:
                    return str(case["id"])
        return ""

    def short(self, subject: str) -> str:
        """The subject of a verdict without what every case shares."""
        return " ".join(word for word in subject.split(" ") if word not in self.common)

    @property
    def title(self) -> str:
        return str(self.manifest.get("title") or self.manifest["profile"])


def gather(manifest: dict[str, Any], records: Sequence[Record], verdicts: Sequence[Verdict]) -> Context:
    images = [record for record in records if is_image(record)]
    records = [record for record in records if not is_image(record)]
    groups, tables = make_tables(manifest, records, verdicts)
    # The first tables of the manifest are drawn; what was decided decides the order in which they are shown.
    sections = sorted((_section(table, k < DRAWN_MODELS) for k, table in enumerate(tables)), key=lambda s: s.decided)
    found = controls_note(tables) + notes(manifest, records, groups)
    if len(tables) > DRAWN_MODELS:
        found.append(f"figures are drawn for the first {DRAWN_MODELS} of {len(tables)} tables; the CSV has all of them")
    planned = {case["id"] for case in manifest["cases"]}
    used = [record for record in records if record.id in planned]
    return Context(
        manifest=manifest,
        headlines=headlines([section.table for section in sections]),
        sections=sections,
        verdicts=list(verdicts),
        counts=Counter(v.outcome for v in verdicts),
        costs=costs(groups),
        perplexities=[table for model in _by_model(groups) for table in perplexity_tables(model)],
        accuracies=[table for table in map(accuracy_table, _by_model(groups)) if table],
        confidence=confidence_tables(groups),
        reliability=[d for model in _by_model(groups)[:DRAWN_MODELS] for d in reliability_drawings(model)],
        dispersion=[d for d in map(task_strips.every_draw, _by_model(groups)[:DRAWN_MODELS]) if d],
        distilled=distilled_tables(images),
        distilled_drawings=distilled_reliability(images),
        notes=found,
        provenance=_provenance(used, manifest),
        licences=_licences(manifest.get("licences")),
        records=len(used) + len(images),
        planned=len(planned) + len(manifest.get("image_cases", [])),
        groups=groups,
    )


def _section(table: Table, drawn: bool) -> Section:
    makers = MAKERS if drawn else ()
    maps = [heat.source_by_method(table), heat.source_by_domain(table)]
    return Section(
        table,
        answers([table]),
        [drawing for drawing in (make(table) for make in makers) if drawing],
        [found for found in maps if found],
        components.components(table),
        likeness.correlations(table),
        plain_tables(table),
    )


def _by_model(groups: Sequence[Group]) -> list[list[Group]]:
    models: dict[str, list[Group]] = {}
    for group in groups:
        models.setdefault(group.title, []).append(group)
    return list(models.values())


def _provenance(records: Sequence[Record], manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """Versions, device and hashes; every value that occurs, so that a merged run shows its differences."""
    seen: dict[str, dict[str, None]] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(str(key), inner)
        elif value not in (None, ""):
            seen.setdefault(name, {})[str(value)] = None

    for record in records:
        for name, value in record.environment.items():
            add(name, value)
        add(f"model {label(record.case['model'])}", record.keys.get("model_hash", "")[:16])
        add(f"code of {record.case['method']}", record.keys.get("method_code", "")[:16])
        if record.draw:
            revision = str((record.draw.get("provenance") or {}).get("revision", ""))
            add(f"text of {label(record.case['draw']['source'])}", revision[:40])
        add("scores", record.keys.get("evaluation_key", "")[:16])
    created = sorted(r.created for r in records if r.created)
    rows = [("profile", str(manifest.get("profile", "")))]
    if created:
        rows.append(("records made", created[0] if created[0] == created[-1] else f"{created[0]} to {created[-1]}"))
    return rows + [(name, _joined(list(values))) for name, values in sorted(seen.items())]


def _joined(values: list[str]) -> str:
    return ", ".join(values[:4]) + (f" and {len(values) - 4} more" if len(values) > 4 else "")


def _licences(value: Any) -> list[dict[str, Any]]:
    """A list of rows, whatever shape the manifest has them in."""
    if isinstance(value, dict):
        return [{"name": k, **(v if isinstance(v, dict) else {"licence": v})} for k, v in value.items()]
    return [dict(row) if isinstance(row, dict) else {"name": str(row)} for row in value or []]
