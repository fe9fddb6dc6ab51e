"""One statistic a file; numpy here, scipy inside the functions so that importing stays cheap.

Matrices are ``[n_items, n_draws]``: documents or task items down, calibration draws across.
"""

from reports.statistics.calibration_error import (
    area_under_risk_coverage,
    bias_of_perfect,
    bootstrap,
    bootstrap_error,
    brier,
    classwise_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
    reliability,
    signed_gap,
)
from reports.statistics.detectable import detectable_difference, detectable_flips, fewest_flips, items_needed
from reports.statistics.holm import holm
from reports.statistics.interval import Interval
from reports.statistics.item_floor import disagreement, item_floor
from reports.statistics.mcnemar import McNemar, exact_sign_flip, mcnemar, sign_flip
from reports.statistics.noninferiority import noninferiority
from reports.statistics.paired import paired_difference
from reports.statistics.rank_correlation import rank_correlation
from reports.statistics.source_range import SourceRange, source_range
from reports.statistics.superiority import superiority
from reports.statistics.tolerance import tolerance_factor, upper_sd_factor
from reports.statistics.two_way import contrast, mean_squares
from reports.statistics.variance_component import VarianceComponent, variance_component
from reports.statistics.wilson import wilson

__all__ = [
    "Interval",
    "McNemar",
    "SourceRange",
    "VarianceComponent",
    "area_under_risk_coverage",
    "bias_of_perfect",
    "bootstrap",
    "bootstrap_error",
    "brier",
    "classwise_calibration_error",
    "contrast",
    "detectable_difference",
    "detectable_flips",
    "disagreement",
    "exact_sign_flip",
    "expected_calibration_error",
    "fewest_flips",
    "holm",
    "item_floor",
    "items_needed",
    "maximum_calibration_error",
    "mcnemar",
    "mean_squares",
    "negative_log_likelihood",
    "noninferiority",
    "paired_difference",
    "rank_correlation",
    "reliability",
    "sign_flip",
    "signed_gap",
    "source_range",
    "superiority",
    "tolerance_factor",
    "upper_sd_factor",
    "variance_component",
    "wilson",
]
