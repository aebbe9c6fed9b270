"""What a run was made on, and its figures as tables in Markdown and as a chart in SVG."""
import datetime, html, os, platform, re, statistics, subprocess
from pathlib import Path

# Of each table the heading, and of each column heading, figure and format.
TIMES = [("p50 ms", "p50_ms", "{:.2f}"), ("p99 ms", "p99_ms", "{:.2f}")]
BUSY = ("of its core", "busy", "{:.0f} %")
CALLS = [("calls/s", "per_sec", "{:,.0f}"), ("CPU µs per call", "cpu_us", "{:.1f}"), *TIMES]
MOVED = [("MiB/s", "per_sec", "{:,.0f}"), ("CPU µs per MiB", "cpu_us", "{:,.0f}"), BUSY]
TABLES = {
    "calls": ("As many calls as go", [*CALLS, BUSY]),
    "latency": ("{rate} calls a second", [*CALLS, ("longest ms", "max_ms", "{:.2f}")]),
    "http2": ("As many calls as go, over TLS and HTTP/2", [*CALLS, BUSY]),
    "up": ("Bodies of 1 MiB to the vendor", MOVED),
    "down": ("Bodies of 1 MiB from the vendor", MOVED),
    "mint": ("Sessions", [("mints/s", "per_sec", "{:,.0f}"), ("CPU µs per mint", "cpu_us", "{:.0f}"), *TIMES, BUSY]),
}

# Of each group of bars its table, the heading, the figures with what stands behind them, and their format.
GROUPS = [
    ("calls", "CPU of the proxy for a call, µs", {"cpu_us": ""}, "{:.1f} {}"),
    ("latency", "Time of a call at {rate} a second, ms", {"p50_ms": "p50", "p99_ms": "p99"}, "{:.2f} {}"),
]
OURS, THEIRS = ("#1d6fb8", "#86b4dc"), ("#76797d", "#b4b8bd")
WIDTH, LEFT, LONGEST, BAR = 680, 150, 430, 16


def machine(binary):
    model = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.M)

    def version(*command):
        said = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
        return re.search(r"\d+\.\d\S*", said)[0]

    return {
        "date": datetime.date.today().isoformat(), "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(), "kernel": platform.release(),
        "haproxy": version("haproxy", "-v"), "nginx": version("nginx", "-v"), "keystile": version(binary, "--version"),
    }


# A direct call has no figures of a proxy.
def median(rounds, figure):
    return statistics.median(row[figure] for row in rounds) if figure in rounds[0] else None


def markdown(about, chosen, results, samples):
    others = [row["others"] for peers in results.values() for rounds in peers.values() for row in rounds]
    row = lambda cells: "| " + " | ".join(cells) + " |"
    lines = [
        "# Side by side, {date}\n".format(**about),
        "{cpu}, {cores} cores; Linux {kernel}, HAProxy {haproxy}, nginx {nginx}, keystile {keystile}. ".format(**about)
        + (f"Medians of {chosen.rounds} × {chosen.secs} s. Other programs took {statistics.median(others):.0f} % "
           f"of a core meanwhile, {max(others):.0f} % at most." if others else ""),
    ]
    for table, peers in results.items():
        heading, columns = TABLES[table]
        lines += [f"\n## {heading.format(rate=chosen.rate)}\n", row(["", *(column for column, _, _ in columns)]),
                  "|---|" + "---:|" * len(columns)]
        for name, rounds in peers.items():
            values = [(median(rounds, figure), form) for _, figure, form in columns]
            lines.append(row([name, *("–" if value is None else form.format(value) for value, form in values)]))
    if samples:
        lines += ["\n## Memory of the gateway\n", row(["seconds", "calls", "sessions opened", "MiB"]), "|---:|---:|---:|---:|"]
        # Some dozen of them, the first and the last among them.
        step = max(1, len(samples) // 12)
        for sample in [*samples[:-1:step], samples[-1]]:
            lines.append(row([f"{sample[key]:,}" for key in ("secs", "calls", "mints")] + [f"{sample['mib']:.1f}"]))
    return "\n".join(lines) + "\n"


# Memory over time: first of the calls, then of the sessions.
def curve(about, samples):
    left, bottom, width, height = 60, 220, 590, 160
    longest, most = samples[-1]["secs"], max(sample["mib"] for sample in samples) * 1.25
    at = lambda sample: (left + width * sample["secs"] / longest, bottom - height * sample["mib"] / most)
    points = " ".join("{:.1f},{:.1f}".format(*at(sample)) for sample in samples)
    turn, _ = at(next(sample for sample in samples[::-1] if not sample["mints"]))
    last = samples[-1]
    parts = [
        f'<line x1="{left}" y1="{bottom}" x2="{left + width}" y2="{bottom}" stroke="#76797d"/>',
        f'<line x1="{turn:.1f}" y1="{bottom}" x2="{turn:.1f}" y2="{bottom - height}" stroke="#b4b8bd"/>',
        f'<polyline points="{points}" fill="none" stroke="{OURS[0]}" stroke-width="2"/>',
    ]

    def text(x, y, content, more=""):
        parts.append(f'<text x="{x:.0f}" y="{y:.0f}" {more}>{html.escape(content)}</text>')

    text(20, 28, "keystile {keystile}: resident memory, MiB; {cpu}; {date}".format(**about), 'font-size="11"')
    for mib in range(0, int(most), max(1, int(most) // 4)):
        text(left - 8, bottom - height * mib / most + 4, str(mib), 'text-anchor="end" font-size="12"')
    text(left, bottom + 20, f"{last['calls']:,} calls", 'font-size="12"')
    text(turn, bottom + 20, f"{last['mints']:,} sessions", 'font-size="12"')
    text(left + width, bottom + 20, f"{last['secs']:,} s", 'text-anchor="end" font-size="12"')
    return svg(parts, 260)


# On a ground of its own, so that it can be read on any page.
def chart(about, chosen, results, ours):
    parts, y = [], 62

    def text(x, y, content, more):
        parts.append(f'<text x="{x:.0f}" y="{y:.0f}" {more}>{html.escape(content)}</text>')

    text(20, 28, "keystile {keystile}, HAProxy {haproxy}, nginx {nginx}; {cpu}; {date}".format(**about), 'font-size="11"')
    for table, heading, figures, form in GROUPS:
        bars = {name: [(median(rounds, figure), label) for figure, label in figures.items()]
                for name, rounds in results.get(table, {}).items() if figures.keys() <= rounds[0].keys()}
        if not bars:
            continue
        text(20, y, heading.format(rate=chosen.rate), 'font-weight="600"')
        y += 14
        scale = LONGEST / max(value for values in bars.values() for value, _ in values)
        for name, values in bars.items():
            text(LEFT - 10, y + BAR * len(values) / 2 + 4, name, 'text-anchor="end"')
            for (value, label), colour in zip(values, OURS if name == ours else THEIRS):
                parts.append(f'<rect x="{LEFT}" y="{y}" width="{value * scale:.1f}" height="{BAR - 2}" fill="{colour}"/>')
                text(LEFT + value * scale + 6, y + BAR - 4, form.format(value, label).strip(), 'font-size="12"')
                y += BAR
            y += 8
        y += 30
    return svg(parts, y - 22)


def svg(parts, height):
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="13" fill="#24292f">',
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8" fill="#fff" stroke="#d0d7de"/>',
        *parts, "</svg>\n"])
