"""Prints the table of `codecs` from the CSV files of its sweeps: codecs.py AT_LEAST CODEC=FILE ..."""

import csv
import statistics
import sys

RECORD_BYTES = 1024


def medians(path):
    """By size of batch and broker: MB of records a second, and CPU seconds of the server per GB of them."""
    found = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            if row["error"] or not row["server_cpu_s_per_million_records"]:
                sys.exit(f"{path}: {row['broker']} has no figures: {row['error'] or 'no processor time'}")
            rate = float(row["records_per_s"]) * RECORD_BYTES / 1e6
            cost = float(row["server_cpu_s_per_million_records"]) * 1e3 / RECORD_BYTES
            wire, busy = float(row["mb_per_s"]), float(row["server_busy"])
            found.setdefault((row["batch"], row["broker"]), []).append((rate, cost, wire, busy))
    return {key: tuple(statistics.median(column) for column in zip(*runs)) for key, runs in found.items()}


def main():
    at_least, worst = float(sys.argv[1]), float("inf")
    print("| codec | batch | Keylane MB/s | CPU s/GB | busy | Kafka MB/s | CPU s/GB | busy | rate per CPU second |")
    print("|---|---|---|---|---|---|---|---|---|")
    for codec, path in (argument.split("=", 1) for argument in sys.argv[2:]):
        of = medians(path)
        for batch in dict.fromkeys(batch for batch, _ in of):
            keylane, kafka = of[batch, "keylane"], of[batch, "kafka"]
            ratio = kafka[1] / keylane[1]
            worst = min(worst, ratio)
            cells = [f"{b[0]:,.0f} | {b[1]:.3f} | {b[3]:.0%}" for b in (keylane, kafka)]
            print(f"| {codec} | {batch} | {cells[0]} | {cells[1]} | {ratio:.2f} |")
    print(f"least: {worst:.2f} times Kafka's rate per CPU second")
    return 0 if worst >= at_least else 1


if __name__ == "__main__":
    sys.exit(main())
