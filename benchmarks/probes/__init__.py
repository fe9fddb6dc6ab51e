"""Questions to distilled images that need networks of their own; see `benchmarks.distillation_probes`."""
