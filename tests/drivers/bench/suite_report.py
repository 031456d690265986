"""What the outcomes of the suites mean: the table, each difference by name, and what is wrong with it."""

from .suites import PHASES, RAN

NOTHING = "nothing"
(PHASE,) = PHASES


def differences(outcome):
    """Test -> what became of it direct, what through pgweir."""
    direct, pgweir = outcome.direct.tests, outcome.pgweir.tests
    return {
        name: (direct.get(name, NOTHING), pgweir.get(name, NOTHING))
        for name in dict.fromkeys([*direct, *pgweir])
        if direct.get(name) != pgweir.get(name)
    }


def progress(outcome):
    if outcome.trouble:
        return f"{outcome.suite.name}: {outcome.trouble}"
    shown = (
        f"{name} {len(one.named('PASS'))}/{len(one.named(*RAN))} in {one.seconds:.1f} s"
        for name, one in (("direct", outcome.direct), ("pgweir", outcome.pgweir))
    )
    return f"{outcome.suite.name}: {', '.join(shown)}"


def table(outcomes):
    """Passed of those that ran; a test that wants a set-up which is not there skips itself."""
    rows = [("suite", "version", "direct", "pgweir", "skipped", "differs")]
    for outcome in outcomes:
        if outcome.trouble:
            rows.append((outcome.suite.name, "-", "-", "-", "-", "not built"))
            continue
        counts = (f"{len(one.named('PASS'))}/{len(one.named(*RAN))}" for one in (outcome.direct, outcome.pgweir))
        skipped = str(len(outcome.direct.named("SKIP")))
        rows.append(
            (outcome.suite.name, outcome.version, *counts, skipped, " ".join(differences(outcome)) or NOTHING)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[-1]]) for row in rows]
    return "\n" + "\n".join(lines) + "\n"


def explained(outcomes, listed):
    """Every difference with the reason that is known for it."""
    lines = []
    for outcome in outcomes:
        for name, (direct, pgweir) in differences(outcome).items():
            reason = listed.reason(outcome.suite.name, name, PHASE) or "not known"
            lines.append(f"{outcome.suite.name} {name}: {direct} direct, {pgweir} through pgweir: {reason}")
    return "\n".join(lines)


def complaints(outcomes, listed):
    """One line for each thing that is wrong."""
    for outcome in outcomes:
        suite = outcome.suite.name
        if outcome.trouble:
            yield f"{suite}: not built: {outcome.trouble}"
            continue
        for phase, one in (("direct", outcome.direct), ("through pgweir", outcome.pgweir)):
            if one.trouble:
                yield f"{suite}: {phase}, it did not run to its end: {one.trouble}"
        differing = differences(outcome)
        for name in outcome.direct.named("FAIL"):
            if not listed.reason(suite, name, PHASE):
                yield f"{suite}: {name} fails without pgweir, too: {outcome.direct.reasons[name]}"
        for name, (direct, pgweir) in differing.items():
            if not listed.reason(suite, name, PHASE):
                said = outcome.pgweir.reasons.get(name, "")
                yield f"{suite}: {name} differs. direct: {direct}; through pgweir: {pgweir} {said}"
        for name in sorted(listed.scenarios(suite) - set(differing)):
            if listed.must_differ(suite, name, PHASE):
                yield f"{suite}: {name} differs no more: remove it from the list `known_suites`"
