"""What was measured, as a table in Markdown and as a plot without script, font or network (light and dark)."""

import math
import statistics

CLIENTS = {"librdkafka": "librdkafka (confluent-kafka)", "java": "Java"}
STATES = {
    "produce": "producing, acks=all",
    "loaded": "catching up, right after the load",
    "killed": "catching up, right after kill -9",
    "cold": "catching up, cold: clean restart, page cache dropped",
}
# A client that uses so much of its core is the limit, not the broker.
BUSY = 0.9
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 380, 250, 54, 14, 42, 40
STYLE = """
  svg { --text: #1b1f24; --dim: #5c6670; --grid: #e3e6ea; --back: #fff; --c0: #0b61c4; --c1: #c4520a }
  @media (prefers-color-scheme: dark) {
    svg { --text: #e4e7eb; --dim: #9aa4af; --grid: #2a3037; --back: #111; --c0: #6cb2ff; --c1: #ff9d5c }
  }
  text { font: 12px system-ui, sans-serif; fill: var(--text) }
  .dim { fill: var(--dim) } .title { font-weight: 600 } .grid { stroke: var(--grid) }
  .line { fill: none; stroke-width: 2 } .java { stroke-dasharray: 5 3 } .bar { stroke-width: 1.5 }
"""


def figures(run, record_bytes):
    """MB/s of keys and values, and the client's processor time as a part of the time."""
    return run["records"] * record_bytes / 1e6 / run["seconds"], run["cpu_seconds"] / run["seconds"]


class Cell:
    """One broker, client, batch size, number of partitions and state; measured several times."""

    def __init__(self, result, key):
        runs = [run for run in result["runs"] if all(run[name] == value for name, value in key.items())]
        good = [run for run in runs if "error" not in run]
        self.errors = [run["error"] for run in runs if "error" in run]
        both = [figures(run, result["record_bytes"]) for run in good]
        self.rates = [rate for rate, _ in both]
        self.rate = statistics.median(self.rates) if both else None
        self.busy = statistics.median(busy for _, busy in both) if both else None
        self.complete = all(run["complete"] for run in good)

    def words(self):
        if self.rate is None:
            return "failed" if self.errors else "-"
        spread = f" ({min(self.rates):.0f}-{max(self.rates):.0f})" if len(self.rates) > 1 else ""
        return f"{self.rate:,.0f}{spread}, {100 * self.busy:.0f} %" + ("" if self.complete else " †")


def verdict(ours, theirs):
    """How the two compare: the ratio, and whether it is good enough. `ours` is, if it is not slower or its client is the
    limit."""
    if ours.rate is None or theirs.rate is None:
        return "-", False
    if theirs.rate == 0:
        return "-", ours.rate > 0
    ratio = ours.rate / theirs.rate
    if ratio >= 1:
        return f"{ratio:.2f}", True
    if ours.busy > BUSY:
        return f"{ratio:.2f}, client busy", True
    return f"**{ratio:.2f}**", False


def cells_of(result, state, batch, partitions):
    key = {"state": state, "batch": batch, "partitions": partitions}
    for client in result["clients"]:
        yield client, [Cell(result, {**key, "client": client, "broker": broker}) for broker in ("keylane", "kafka")]


def misses(result):
    """The cells that were measured in which Keylane is slower, and its client is not the limit."""
    found = []
    for state in result["states"]:
        for batch in result["batches"]:
            for partitions in result["partitions"]:
                for client, pair in cells_of(result, state, batch, partitions):
                    words, good = verdict(*pair)
                    if not good:
                        found.append(f"{state}, {batch}, {partitions} partitions, {client}: {words}")
    return found


def table(result):
    """Tables, one for each state and batch size."""
    heads = [f"{CLIENTS[client]}: {what}" for client in result["clients"] for what in ("Keylane", "Kafka", "ratio")]
    for state in result["states"]:
        for batch in result["batches"]:
            yield f"### {STATES[state][0].upper()}{STATES[state][1:]}; batches of {batch.removesuffix('k')} KiB\n"
            yield f"| partitions | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 1)}"
            for partitions in result["partitions"]:
                row = [f"{partitions:,}"]
                for _, pair in cells_of(result, state, batch, partitions):
                    row += [cell.words() for cell in pair] + [verdict(*pair)[0]]
                yield f"| {' | '.join(row)} |"
            yield ""


def markdown(result, name):
    """The whole page."""
    yield "# Keylane beside Apache Kafka, with clients in use\n"
    yield f"![Throughput over the number of partitions, by client, batch size and state]({name}.svg)\n"
    yield f"{result['started']}, {result['machine']}; commit {result['commit']}. Server on core {result['server_core']},"
    yield f"client on core {result['client_core']}; {result['rounds']} round{'s' if result['rounds'] > 1 else ''}, brokers"
    yield f"in turn. [JSON]({name}.json)\n"
    yield f"```sh\n{result['command']}\n```\n"
    for broker, words in result["brokers"].items():
        yield f"* {broker}: {words}"
    yield f"* clients: {result['versions']}"
    yield f"* records of {result['record_bytes']:,} bytes; {result['note']}\n"
    yield "MB/s (10^6 bytes of keys and values), then the client's own processor time as a part of the time: above 90 %"
    yield "the client is the limit. Ratio: Keylane to Kafka; bold where Keylane is slower and its client is not the"
    yield "limit. †: stopped before its end, for the time that a point may take.\n"
    yield from table(result)
    failed = sorted({run["error"] for run in result["runs"] if "error" in run})
    if failed:
        yield "Failed:\n"
        yield from (f"* {error.splitlines()[0]}" for error in failed)


def plot(result, state, batch, left, top):
    counts = result["partitions"]
    lines = {}
    for index, partitions in enumerate(counts):
        for client, pair in cells_of(result, state, batch, partitions):
            for broker, cell in enumerate(pair):
                if cell.rate:
                    lines.setdefault((broker, client), []).append((index, cell))
    rates = [rate for line in lines.values() for _, cell in line for rate in cell.rates]
    yield f'<text class="title" x="{left + LEFT}" y="{top + 16}">{STATES[state].split(":")[0]}</text>'
    yield f'<text class="dim" x="{left + LEFT}" y="{top + 31}">MB/s, batches of {batch.removesuffix("k")} KiB</text>'
    if not rates:
        return
    low, high = math.floor(math.log10(min(rates))), math.ceil(math.log10(max(rates)))
    high = max(high, low + 1)

    def x(index):
        return left + LEFT + (WIDTH - LEFT - RIGHT) * (index + 0.35) / (len(counts) - 0.3)

    def y(rate):
        return top + TOP + (HEIGHT - TOP - BOTTOM) * (high - math.log10(rate)) / (high - low)

    for power in range(low, high + 1):
        at = y(10.0**power)
        yield f'<path class="grid" d="M{left + LEFT} {at:.1f}h{WIDTH - LEFT - RIGHT}"/>'
        yield f'<text class="dim" x="{left + LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{10.0**power:,g}</text>'
    for index, count in enumerate(counts):
        yield f'<text class="dim" x="{x(index):.1f}" y="{top + HEIGHT - BOTTOM + 18}" text-anchor="middle">{count:,}</text>'
    for (broker, client), line in sorted(lines.items()):
        colour = f"var(--c{broker})"
        path = " ".join(f"{x(index):.1f},{y(cell.rate):.1f}" for index, cell in line)
        yield f'<polyline class="line {client}" stroke="{colour}" points="{path}"/>'
        for index, cell in line:
            fill = "var(--back)" if cell.busy > BUSY else colour
            yield (f'<path class="bar" stroke="{colour}" d="M{x(index):.1f} {y(min(cell.rates)):.1f}'
                   f'V{y(max(cell.rates)):.1f}"/>'
                   f'<circle r="3.5" fill="{fill}" stroke="{colour}" cx="{x(index):.1f}" cy="{y(cell.rate):.1f}">'
                   f'<title>{cell.words()}</title></circle>')


def picture(result):
    """One plot for each state and batch size, over the number of partitions."""
    # The legend needs room, even above one plot.
    width, height = max(WIDTH * len(result["batches"]), 640), 44 + HEIGHT * len(result["states"])
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
           'role="img">')
    yield "<title>Producing and catching up with clients in use: Keylane and Apache Kafka</title>"
    yield f'<style>{STYLE}</style>\n<rect width="100%" height="100%" fill="var(--back)"/>'
    at = 14
    for broker, name in enumerate(("Keylane", "Kafka")):
        for client in result["clients"]:
            label = f"{name}, {client}"
            yield (f'<path class="line {client}" stroke="var(--c{broker})" d="M{at} 16h26"/>'
                   f'<text x="{at + 31}" y="20">{label}</text>')
            at += 44 + 7 * len(label)
    yield '<text class="dim" x="14" y="36">over the number of partitions; hollow: the client uses over 90 % of its core</text>'
    for row, state in enumerate(result["states"]):
        for column, batch in enumerate(result["batches"]):
            yield from plot(result, state, batch, column * WIDTH, 44 + row * HEIGHT)
    yield "</svg>"
