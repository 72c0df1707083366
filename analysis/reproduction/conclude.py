"""What follows from the numbers, in words."""

from __future__ import annotations

import pandas as pd


def print_comparison(rows: pd.DataFrame, pooled: pd.DataFrame) -> None:
    """Print every cell's numbers, the pooled ones, and whether they agree with the published table."""
    print(f"{rows['index'].nunique()} cells trained by the published protocol; accuracies in %, ours minus published")
    print(f"{'cell':>6} {'metric':22} {'ours':>6} {'published':>9} {'difference':>10} {'noise':>6} {'z':>5}")
    for row in rows.itertuples():
        accuracies = f"{100 * row.ours:6.2f} {100 * row.published:9.2f} {100 * row.difference:+10.2f}"
        print(f"{row.index:>6} {row.metric:22} {accuracies} {100 * row.noise:6.2f} {row.z:+5.1f}")
    print(
        "\nall cells: mean difference, its 95 % interval over cells; the mean weighted by noise; root mean square of z"
    )
    for row in pooled.itertuples():
        plain = f"{100 * row.mean:+.2f} [{100 * row.low:+.2f}, {100 * row.high:+.2f}]"
        weighted = f"{100 * row.weighted:+.2f} [{100 * row.weighted_low:+.2f}, {100 * row.weighted_high:+.2f}]"
        verdict = "inside" if row.low <= 0 <= row.high else "OUTSIDE"
        print(f"  {row.metric:22} {plain:24} {weighted:24} {row.rms_z:.2f}   0 is {verdict} the first interval")
