"""Published figures: allocated % of all GPUs at 100 and at 130 % arrived, means of ten seeds.

Source: result tables of Weng, Yang et al., "Beware of Fragmentation", USENIX ATC'23; 100 minus unallocated.
"""

POLICIES = ("Random", "DotProd", "GpuClustering", "GpuPacking", "BestFit", "FGD")

_UNALLOCATED = """
default      13.70/12.53   9.38/9.15    8.35/8.12    8.22/8.00    7.14/6.92    4.77/4.61
cpu050       10.98/8.76    6.97/6.73    6.48/6.21    6.54/6.28    6.44/6.21    5.00/4.79
cpu100       12.56/10.89   8.27/8.04    7.58/7.36    7.50/7.29    6.74/6.56    4.79/4.65
cpu200       16.97/16.23   12.54/12.30  10.33/10.08  10.02/9.78   7.85/7.60    5.18/4.96
cpu250       20.00/19.59   16.43/16.20  12.25/12.01  11.95/11.72  8.79/8.55    6.80/6.59
gpushare40   15.14/14.00   10.70/10.44  10.24/9.98   10.23/9.97   8.56/8.31    6.04/5.85
gpushare60   17.19/16.35   13.18/12.88  13.10/12.80  12.85/12.55  10.94/10.64  8.74/8.60
gpushare80   19.38/18.78   15.86/15.51  15.50/15.15  15.35/15.00  13.34/12.99  10.92/10.70
gpushare100  21.10/20.56   18.02/17.58  17.77/17.35  17.87/17.43  15.38/14.99  13.36/13.10
gpuspec10    13.74/12.57   9.83/9.61    8.04/7.82    7.76/7.54    6.90/6.70    5.34/5.05
gpuspec20    14.10/12.76   11.71/10.03  10.89/7.75   10.72/7.06   11.54/6.70   5.34/5.16
gpuspec25    14.58/13.06   14.56/10.37  13.59/7.92   13.23/7.02   14.33/6.77   6.09/5.26
multigpu20   13.08/11.31   8.15/7.94    6.66/6.44    6.50/6.29    6.27/6.07    4.47/4.35
multigpu30   13.37/10.73   6.89/6.72    5.45/5.28    5.30/5.13    5.43/5.28    3.64/3.54
multigpu50   18.72/9.72    5.27/5.15    4.31/4.19    3.94/3.82    4.38/4.26    2.91/2.82
"""


def _row(line: str) -> tuple[str, dict[str, dict[int, float]]]:
    name, *cells = line.split()
    pairs = [[float(part) for part in cell.split("/")] for cell in cells]
    return name, {
        policy: {100: round(100 - full, 2), 130: round(100 - over, 2)}
        for policy, (full, over) in zip(POLICIES, pairs, strict=True)
    }


ALLOCATED = dict(_row(line) for line in _UNALLOCATED.strip().splitlines())


def allocated(listed: str, policy: str, mark: int) -> float | None:
    """The published allocation, or None where there is none."""
    return ALLOCATED.get(listed, {}).get(policy, {}).get(mark)
