"""Medians over the rounds, ratios, and a table that a person can read."""

from statistics import median

FIELDS = ("rate", "p50_us", "p95_us", "p99_us", "cpu_us", "rss_mb", "queries", "parsed", "remembered")
BASE = "pgbouncer"

# What we are held to: CPU as a ratio to pgbouncer's in the same run.
GOALS = {
    "simple-16": "goal 1.00",
    "simple-100": "goal 0.80",
    "rows-10mb": "goal 0.60",
    "copy-in": "goal 0.60",
    "copy-out": "goal 0.60",
}


def summary(rounds):
    """{workload: {pooler: [result of each round]}} -> medians and ratios."""
    table = {}
    for workload, poolers in rounds.items():
        rows = {}
        for pooler, results in poolers.items():
            rows[pooler] = {
                field: median(values)
                for field in FIELDS
                if (values := [result[field] for result in results if result.get(field) is not None])
            }
        table[workload] = rows
    simple = {name: rows.get(BASE, {}).get("cpu_us") for name, rows in table.items()}
    for workload, rows in table.items():
        base, note = rows.get(BASE, {}).get("cpu_us"), ""
        if base is None and workload.startswith(("prepared", "extended")):
            # Debian's pgbouncer has no prepared statements in transaction mode: its simple figure stands in.
            base, note = simple.get("simple-" + workload.rsplit("-", 1)[1]), " (of simple)"
        for row in rows.values():
            if base and row.get("cpu_us") is not None:
                row["cpu_ratio"] = row["cpu_us"] / base
                row["cpu_ratio_note"] = note
            base_rate = rows.get(BASE, {}).get("rate")
            if base_rate and row.get("rate") is not None:
                row["rate_ratio"] = row["rate"] / base_rate
    return table


def _cell(row, key, form):
    value = row.get(key)
    return form.format(value) if value is not None else "-"


def text(table, units):
    lines = []
    header = ("", "rate/s", "x", "p50 us", "p95 us", "p99 us", "CPU us", "ratio", "syscalls", "instr.", "RSS MB")
    for workload, rows in table.items():
        unit = units[workload]
        goal = f"   [{GOALS[workload]}]" if workload in GOALS else ""
        lines.append(f"\n{workload}: rate and costs per {unit}{goal}")
        body = [header]
        for pooler, row in rows.items():
            ratio = _cell(row, "cpu_ratio", "{:.2f}")
            body.append(
                (
                    pooler,
                    _cell(row, "rate", "{:.0f}" if row.get("rate", 0) >= 100 else "{:.1f}"),
                    _cell(row, "rate_ratio", "{:.2f}"),
                    _cell(row, "p50_us", "{:.0f}"),
                    _cell(row, "p95_us", "{:.0f}"),
                    _cell(row, "p99_us", "{:.0f}"),
                    _cell(row, "cpu_us", "{:.1f}"),
                    ratio + row.get("cpu_ratio_note", "") if ratio != "-" else ratio,
                    _cell(row, "syscalls", "{:.2f}"),
                    _cell(row, "instructions", "{:.0f}"),
                    _cell(row, "rss_mb", "{:.1f}"),
                )
            )
        widths = [max(len(line[n]) for line in body) for n in range(len(header))]
        for line in body:
            cells = [line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
            lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join([*lines, *ceilings_cost(table), *parsed_texts(table)])


def ceilings_cost(table):
    """What ceilings add to a transaction's CPU."""
    lines = []
    for workload, rows in table.items():
        off, on = (rows.get(name, {}).get("cpu_us") for name in ("pgweir-1", "pgweir-dls"))
        if off and on:
            lines.append(f"  {workload}: {on:.1f} us with, {off:.1f} us without, {on / off:.3f}")
    return ["\nceilings, CPU [goal 1.03]:", *lines] if lines else []


def parsed_texts(table):
    """How many of a workload's queries the SQL parser had to read, and how many of those that are looked into at all
    were remembered; the words of the others did."""
    lines = []
    for workload, rows in table.items():
        for pooler, row in rows.items():
            if row.get("queries"):
                share = 100 * row["parsed"] / row["queries"]
                looked = row["parsed"] + row["remembered"]
                hits = f", remembered {100 * row['remembered'] / looked:.1f} % of {looked:.0f}" if looked else ""
                lines.append(
                    f"  {workload}, {pooler}: {row['parsed']:.0f} of {row['queries']:.0f} queries, {share:.4f} %{hits}"
                )
    return ["\nread by libpg_query:", *lines] if lines else []
