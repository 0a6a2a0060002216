"""What the members of an ensemble say of a data set, and what follows: curves, fits, diversity, calibration, advice."""

from lightning_lr.report.ensemble_report import EnsembleReport as EnsembleReport
