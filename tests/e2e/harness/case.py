"""The base of all test classes."""

import unittest

from .pgweir import Pgweir
from .postgres import Postgres


class PgweirCase(unittest.TestCase):
    """Shows pgweir's log when a test fails, and checks after each test that every pgweir is still well."""

    postgres_options = {}
    databases = ()  # of the class's Postgres; they belong to its user app, whose password is s3cret
    postgres = None
    _class_weirs = ()

    @classmethod
    def setUpClass(cls):
        cls._class_weirs = []
        cls.postgres = Postgres(**cls.postgres_options)
        cls.addClassCleanup(lambda: cls.postgres.stop())
        if cls.databases:
            cls.postgres.create_user("app", "s3cret")
        for database in cls.databases:
            cls.postgres.create_database(database, owner="app")

    @classmethod
    def class_pgweir(cls, config=None, users=None, **options):
        """A pgweir for all tests of the class."""
        weir = Pgweir(cls.postgres, config, users, **options)
        weir.start()
        cls._class_weirs.append(weir)
        cls.addClassCleanup(weir.stop)
        return weir

    def pgweir(self, config=None, users=None, *, start=True, postgres=None, **options):
        """A pgweir for one test."""
        weir = Pgweir(postgres or self.postgres, config, users, **options)
        self._test_weirs.append(weir)
        if start:
            weir.start()
        self.addCleanup(weir.stop)
        return weir

    def run(self, result=None):
        self._test_weirs = []
        before = _trouble(result)
        super().run(result)
        if _trouble(result) > before:
            for weir in [*self._class_weirs, *self._test_weirs]:
                print(f"--- log of pgweir on port {weir.port} ---\n{weir.log()[-3000:]}", flush=True)
        return result

    def tearDown(self):
        for weir in [*self._class_weirs, *self._test_weirs]:
            weir.check_log()
            if weir.process is not None:
                self.assertTrue(weir.alive, "pgweir ended during the test")

    def assert_sqlstate(self, error, *expected):
        """`error` is a psycopg error; connection failures carry their SQLSTATE in none of its fields."""
        self.assertIn(error.sqlstate, expected, f"{type(error).__name__}: {error}")


def _trouble(result):
    return len(result.failures) + len(result.errors) if result else 0
