"""What the outcomes mean: the table, and what is wrong with it."""

from . import known

NOTHING_WRONG = "no difference that is not known"


def counts(programs):
    """Scenarios that were ok for every client, and all scenarios."""
    names = {name for program in programs for name in program.results}
    good = [
        name for name in names if all(program.results.get(name, "").startswith("ok") for program in programs)
    ]
    return f"{len(good)}/{len(names)}" + ("!" if any(program.trouble for program in programs) else "")


def differences(outcome, phase):
    """Scenario -> what was said instead."""
    direct = outcome.phases["direct"][0]
    differing = {}
    for client, program in enumerate(outcome.phases[phase], 1):
        for name in [*direct.results, *program.results]:
            said = program.results.get(name, f"nothing ({program.trouble or 'no such scenario'})")
            if said != direct.results.get(name):
                differing.setdefault(name, f"client {client}: {said[:600]}")
        if program.trouble:
            differing.setdefault("(end)", f"client {client}: {program.trouble}")
    return differing


def progress(outcome):
    if outcome.trouble:
        return f"{outcome.driver.name}: {outcome.trouble}"
    phases = outcome.phases.items()
    shown = ", ".join(f"{phase} {counts(programs)} in {outcome.seconds[phase]:.1f} s" for phase, programs in phases)
    return f"{outcome.driver.name}: {shown}"


def table(outcomes, listed):
    """What is known of every driver stands below, once."""
    common = {scenario: None for name, scenario, _ in listed.reasons if name == "*"}
    rows = [("driver", "version", "direct", "single", "crowd of 8", "s", "differs")]
    for outcome in outcomes:
        if outcome.trouble:
            rows.append((outcome.driver.name, "-", "-", "-", "-", "-", "not built"))
            continue
        differing = []
        both = {phase: differences(outcome, phase) for phase in known.PHASES}
        for name in dict.fromkeys(name for phase in known.PHASES for name in both[phase]):
            phases = [phase for phase in known.PHASES if name in both[phase]]
            if len(phases) == 2 and name in common:
                continue
            differing.append(name if len(phases) == 2 else f"{name}@{phases[0]}")
        shared = sum(all(name in both[phase] for phase in known.PHASES) for name in common)
        differing += [f"+{shared} of all"] if shared else []
        rows.append(
            (
                outcome.driver.name,
                outcome.phases["direct"][0].version or "?",
                *(counts(outcome.phases[phase]) for phase in ("direct", "single", "crowd")),
                f"{sum(outcome.seconds.values()):.0f}",
                " ".join(differing) or "nothing",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[-1]]) for row in rows]
    return "\n" + "\n".join(lines) + f"\n\nof all: {' '.join(common)}\n"


def verdict(outcomes, listed):
    """One line for each thing that is wrong."""
    lines = []
    for outcome in outcomes:
        name = outcome.driver.name
        if outcome.trouble:
            lines.append(f"{name}: not built: {outcome.trouble}")
            continue
        lines += direct_faults(outcome)
        lines += unknown_differences(outcome, listed)
        lines += gone_differences(outcome, listed)
    return "\n".join(lines) or NOTHING_WRONG


def direct_faults(outcome):
    """Every scenario must be ok without pgweir; one line for all clients and phases of the same scenario."""
    found = {}
    for phase in ("direct", "direct crowd"):
        for program in outcome.phases.get(phase, []):
            if program.trouble:
                found.setdefault("(end)", f"({phase}): {program.trouble}")
            for scenario, said in program.results.items():
                if not said.startswith("ok"):
                    found.setdefault(scenario, f"({phase}): {said}")
    return [f"{outcome.driver.name}: {scenario} fails without pgweir, too {said}" for scenario, said in found.items()]


def unknown_differences(outcome, listed):
    found = {}
    for phase in known.PHASES:
        for scenario, said in differences(outcome, phase).items():
            if not listed.reason(outcome.driver.name, scenario, phase):
                found.setdefault(scenario, []).append((phase, said))
    direct = outcome.phases["direct"][0].results
    return [
        f"{outcome.driver.name}: {scenario} ({', '.join(phase for phase, _ in said)}) differs."
        f" direct: {direct.get(scenario, 'nothing')}; {said[0][1]}"
        for scenario, said in found.items()
    ]


def gone_differences(outcome, listed):
    name = outcome.driver.name
    for phase in known.PHASES:
        differing = differences(outcome, phase)
        for scenario in sorted({*outcome.phases["direct"][0].results, *listed.scenarios(name)}):
            if scenario not in differing and listed.must_differ(name, scenario, phase):
                yield f"{name}: {scenario} ({phase}) differs no more: remove it from the list `known`"


def failed(complaints):
    return complaints != NOTHING_WRONG
