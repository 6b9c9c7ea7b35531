"""Criteria: what a filter or kernel is worth to a target. Adding one is one decorated function in one file here."""

from viscnn.engine.criteria import data_free, force, grasp, integrated_gradients, maps, snip
from viscnn.engine.criteria.registry import CRITERIA, Criterion, Scores, criterion_called, criterion_forms

__all__ = ["CRITERIA", "Criterion", "Scores", "criterion_called", "criterion_forms"]

_MODULES = (data_free, force, grasp, integrated_gradients, maps, snip)  # each registers its criteria when imported
