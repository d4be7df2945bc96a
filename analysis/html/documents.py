"""The part of the page about documents: how each tier classified them. Empty if none was classified."""

from analysis.evidence import Evidence
from analysis.html.anchors import metric
from analysis.html.table import Cell, Column, Table, cell
from analysis.reporting import summary
from analysis.reporting.formatting import maybe, share, two
from contract.document import FIELDS


def tables(run: Evidence) -> list[Table]:
    if not run.documents:
        return []
    about, rows = metric("Documents"), []
    for of in run.documents:
        rows.append(
            [
                Cell(of.tier, tier=of.tier), cell(of.answered), Cell(share(of.valid, of.answered)),
                *(Cell(share(n, of.answered)) for n in of.right_fields.values()), Cell(summary.accuracy(of)),
                Cell(maybe(of.per_minute, "{:.1f}")), Cell(two(of.latency, "p95")), cell(of.cut),
            ]
        )  # fmt: skip
    columns = [
        Column("tier", number=False), Column("documents", about), Column("usable JSON", about),
        *(Column(name.replace("_", " "), about) for name in FIELDS), Column("all right [95 % interval]", about),
        Column("documents/min", about), Column("latency p50 / p95", about), Column("cut"),
    ]  # fmt: skip
    caption = (
        "How each tier classified documents, through the gateway, over the whole run. The first answer for each document counts. "
        "An answer without JSON that the client can use is wrong; cut answers are left out. Latency: from the first call for a document."
    )
    return [Table(caption, columns, rows)]
