"""Post-hoc confidence calibration: does a network's confidence match its accuracy, and what mends it?

Everything here is numpy on logits, except the mask of masked temperature scaling (``masked``) and the legacy fit, which
import torch when used.
"""

from compressors.confidence.temperature import ConfidenceError, Temperature, exact, legacy

__all__ = ["ConfidenceError", "Temperature", "exact", "legacy"]
