"""Evaluation: the 35 tasks of Table C.1, one protocol a family, scores in per cent."""
