"""One figure from one run, as in a notebook: the share of right answers while night falls, and when each phone has swapped.

python docs/examples/one_figure.py [FIGURE.html]
"""

import sys
from pathlib import Path

import plotly.graph_objects as go
import polars as pl

import insitu

scenario = Path(__file__).parents[2] / "scenarios" / "hello.yaml"
picture = sys.argv[1] if sys.argv[1:] else "one_figure.html"

# %% Run it, and see whether the run may be trusted and what it measured
run = insitu.run(scenario, seed=1, set={"devices": {"phone": {"count": 8}}})
print(run.verdict, run.figures["downloads.latency_ms.p95"], "ms at the 95th percentile")
assert run.verdict == "VALID", run.summary["verdict"]["reasons"]

# %% All inferences, by half seconds of virtual time
half_second = (pl.col("t") // 500_000_000 / 2).alias("time")
shares = run.events["inference"].group_by(half_second).agg(pl.col("correct").mean()).sort("time")
swaps = run.events["swapped"]["t"] / 1e9

# %% Draw
figure = go.Figure(go.Scatter(x=shares["time"], y=shares["correct"], line_shape="hv", mode="lines"))
for time in swaps:
    figure.add_vline(time, line_dash="dot", line_width=1, opacity=0.5)
figure.update_layout(
    title=f"{run.summary['scenario']}: {len(swaps)} phones swap their model",
    xaxis_title="virtual time, s",
    yaxis={"title": "share of right answers", "tickformat": ".0%", "range": [0, 1.05]},
    template="plotly_white",
)
figure.write_html(picture, include_plotlyjs=True)
print(f"{picture}, from {run.folder}")
