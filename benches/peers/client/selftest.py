"""What the comparison with clients makes of its figures: python3 benches/peers/client/selftest.py"""

import importlib.machinery
import importlib.util
import sys
import unittest
import xml.dom.minidom
from argparse import ArgumentTypeError
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
import report  # noqa: E402

loader = importlib.machinery.SourceFileLoader("clients", str(HERE.parent / "clients"))
clients = importlib.util.module_from_spec(importlib.util.spec_from_loader("clients", loader))
loader.exec_module(clients)


def run(broker, mb_per_s, busy, partitions=1, **more):
    """One second of reading records of 1,000 bytes."""
    return {"round": 1, "broker": broker, "client": "java", "batch": "16k", "partitions": partitions, "state": "cold",
            "records": mb_per_s * 1000, "seconds": 1.0, "cpu_seconds": busy, "complete": True, **more}


def result(*runs):
    return {
        "started": "now", "commit": "abc", "machine": "one", "command": "clients", "versions": "1", "note": "none", "brokers": {},
        "partitions": [1, 10], "batches": ["16k"], "clients": ["java"], "states": ["cold"], "rounds": 1, "record_bytes": 1000,
        "server_core": 0, "client_core": 1, "runs": list(runs),
    }


class Report(unittest.TestCase):
    def verdict(self, *runs):
        (_, pair), = report.cells_of(result(*runs), "cold", "16k", 1)
        return report.verdict(*pair)

    def test_slower_is_a_miss_unless_the_client_is_the_limit(self):
        self.assertEqual(self.verdict(run("keylane", 200, 0.5), run("kafka", 100, 0.5)), ("2.00", True))
        self.assertEqual(self.verdict(run("keylane", 80, 0.5), run("kafka", 100, 0.99)), ("**0.80**", False))
        self.assertEqual(self.verdict(run("keylane", 80, 0.95), run("kafka", 100, 0.5)), ("0.80, client busy", True))

    def test_nothing_within_the_time_is_slow(self):
        self.assertEqual(self.verdict(run("keylane", 0, 0.1), run("kafka", 100, 0.5)), ("**0.00**", False))
        self.assertEqual(self.verdict(run("keylane", 1, 0.1), run("kafka", 0, 0.5)), ("-", True))
        self.assertEqual(self.verdict(run("keylane", 0, 0.1), run("kafka", 0, 0.5)), ("-", False))
        nothing = result(run("keylane", 0, 0.1), run("kafka", 0, 0.5))
        self.assertTrue(xml.dom.minidom.parseString("\n".join(report.picture(nothing))))

    def test_what_was_not_measured_is_a_miss(self):
        self.assertEqual(self.verdict(run("keylane", 80, 0.5)), ("-", False))
        self.assertEqual(self.verdict(run("keylane", 80, 0.5, error="gone"), run("kafka", 1, 0.5)), ("-", False))
        fine = [run("keylane", 2, 0.1), run("kafka", 1, 0.1)]
        self.assertEqual(len(report.misses(result(*fine))), 1, "10 partitions were not measured")
        more = [run("keylane", 2, 0.1, 10), run("kafka", 1, 0.1, 10)]
        self.assertEqual(report.misses(result(*fine, *more)), [])

    def test_a_median_is_of_the_runs_that_did_not_fail(self):
        runs = [run("keylane", rate, 0.5) for rate in (100, 300, 200)] + [run("keylane", 9, 0.5, error="gone")]
        cell = report.Cell(result(*runs), {"broker": "keylane"})
        self.assertEqual((cell.rate, cell.words()), (200, "200 (100-300), 50 %"))
        self.assertIn("†", report.Cell(result(run("keylane", 1, 0.1, complete=False)), {}).words())

    def test_the_page_and_the_picture_show_every_figure_and_failure(self):
        both = result(run("keylane", 123, 0.99), run("kafka", 77, 0.5), run("kafka", 9, 0.1, 10, error="it <ended>"))
        page = "\n".join(report.markdown(both, "name"))
        self.assertIn("| 1 | 123, 99 % | 77, 50 % | 1.60 |", page)
        self.assertIn("| 10 | - | failed | - |", page)
        self.assertIn("* it <ended>", page)
        picture = xml.dom.minidom.parseString("\n".join(report.picture(both)))
        titles = [node.firstChild.data for node in picture.getElementsByTagName("title")[1:]]
        self.assertEqual(titles, ["123, 99 %", "77, 50 %"])
        fills = [node.getAttribute("fill") for node in picture.getElementsByTagName("circle")]
        self.assertEqual(fills, ["var(--back)", "var(--c1)"], "the first client is busy")
        self.assertTrue(list(report.picture(result())), "nothing measured is no error")


class Clients(unittest.TestCase):
    def test_sizes_and_lists(self):
        self.assertEqual([clients.size("16k"), clients.size("65536")], [16384, 65536])
        for wrong in ("", "k", "0", "-1", "16m"):
            self.assertRaises(ArgumentTypeError, clients.size, wrong)
        self.assertEqual(clients.some_of(report.CLIENTS)("java"), ["java"])
        self.assertRaises(ArgumentTypeError, clients.some_of(report.STATES), "cold,warm")

    def answered(self, stdout, code=0):
        return clients.answer(SimpleNamespace(returncode=code, stdout=stdout, stderr="why"))

    def test_only_an_object_of_a_program_that_ended_well_is_an_answer(self):
        self.assertEqual(self.answered('a warning\n{"records": 1}\n'), {"records": 1})
        for stdout, code in [("", 0), ("3", 0), ("{", 0), ('{"records": 1}', 1)]:
            self.assertRaises(RuntimeError, self.answered, stdout, code)

    def test_a_reader_must_have_read_what_it_says(self):
        found = {"records": 10, "complete": True, "seconds": 1.0, "cpu_seconds": 0.5}
        self.assertEqual(clients.checked(found, 10), found)
        self.assertTrue(clients.checked({**found, "records": 9, "complete": False}, 10))
        self.assertTrue(clients.checked({**found, "records": 0, "complete": False}, 10), "nothing within the time")
        lies = [{"records": 9}, {"records": 11}, {"records": -1, "complete": False}, {"complete": False}, {"seconds": 0},
                {"cpu_seconds": -1}]
        for lie in lies:
            self.assertRaises(RuntimeError, clients.checked, {**found, **lie}, 10)


if __name__ == "__main__":
    unittest.main()
