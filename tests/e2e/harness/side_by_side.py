"""Tests of a class at the same time, for classes whose tests mostly wait for timers."""

import copy
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor

LANES = 8


def side_by_side(tests, *classes):
    """What a module's load_tests answers: the tests of these classes run at once, class by class, LANES at a time.

    Each of them must have to itself what it changes or counts: a pgweir, a database. The class's set-up is for all.
    A test that is named on the command line runs alone, as ever.
    """
    suite, bundles = unittest.TestSuite(), {}
    for test in _flat(tests):
        if type(test) in classes:
            bundles.setdefault(type(test), []).append(test)
        else:
            suite.addTest(test)
    suite.addTests(_bundle(each) for each in bundles.values())
    return suite


def _flat(tests):
    for test in tests:
        if isinstance(test, unittest.TestSuite):
            yield from _flat(test)
        else:
            yield test


def _bundle(tests):
    """Stands for all tests of a class: a suite takes it for one of them, and sets the class up and down around it."""
    bundle = copy.copy(tests[0])
    bundle.run = lambda result: _run(tests, result)
    return bundle


def _run(tests, result):
    lock = threading.Lock()

    def one(test):
        later = _Later()
        test.run(later)
        with lock:
            later.tell(result)

    # A server ends with the thread that started it: each test stays on one, and none ends before the last test.
    threads = ThreadPoolExecutor(LANES)
    try:
        for done in [threads.submit(one, test) for test in tests]:
            done.result()
    finally:
        threads.shutdown(cancel_futures=True)


class _Later(unittest.TestResult):
    """Keeps what is said of one test until all is known: a result takes from one test at a time."""

    def __init__(self):
        super().__init__()
        self._said = []

    def tell(self, result):
        for name, arguments in self._said:
            getattr(result, name)(*arguments)


def _keeps(name):
    def said(self, *arguments):
        getattr(super(_Later, self), name)(*arguments)
        self._said.append((name, arguments))

    return said


for _name in (
    *("startTest", "stopTest", "addSuccess", "addError", "addFailure", "addSkip", "addSubTest"),
    *("addExpectedFailure", "addUnexpectedSuccess"),
):
    setattr(_Later, _name, _keeps(_name))
