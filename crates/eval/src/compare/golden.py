"""Golden of the McNemar test and of the interval, from scipy 1.14.1: python golden.py > golden.csv

Columns: one, other, items, exact two-sided p (binomtest), mid-p, ends of Bonett and Price's interval.
"""
from scipy.stats import binom, binomtest, norm

z = norm.ppf(0.975)
cases = [(0, 0, 10), (0, 1, 1), (1, 0, 5), (0, 6, 6), (5, 5, 30), (3, 11, 40), (10, 2, 1000),
         (25, 25, 900), (40, 61, 1000), (61, 40, 1000), (100, 190, 1000), (0, 900, 900),
         (480, 520, 3040), (700, 400, 3040), (1500, 1510, 6141), (5000, 4800, 20000), (0, 2000, 3040)]
for one, other, items in cases:
    n, few = one + other, min(one, other)
    exact = binomtest(few, n, 0.5).pvalue if n else 1.0
    mid = 2 * binom.cdf(few, n, 0.5) - binom.pmf(few, n, 0.5)
    up, down = (one + 1) / (items + 2), (other + 1) / (items + 2)
    half = z * ((up + down - (up - down) ** 2) / (items + 2)) ** 0.5
    low, high = max(up - down - half, -1), min(up - down + half, 1)
    print(f"{one},{other},{items},{exact!r},{mid!r},{low!r},{high!r}".replace("np.float64(", "").replace(")", ""))
