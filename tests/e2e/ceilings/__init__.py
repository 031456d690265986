"""What a hostile tenant tries against the ceilings of its tier, and what honest ones do all day.

Cases are data: case.py says what they are made of, the other modules hold them by groups. stage.py sets up a
Postgres and what stands in front of it, judges.py looks at effects, runner.py runs all and compares with what
is expected in each mode. `python3 -B -m ceilings --help` in tests/e2e runs them against other targets, too.
"""
