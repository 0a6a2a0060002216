"""Members as points in weight space: their average, and the loss on the lines between them."""

from lightning_lr.weight_space.averaging import BasinError as BasinError
from lightning_lr.weight_space.averaging import average_weights as average_weights
from lightning_lr.weight_space.basin import Line as Line
from lightning_lr.weight_space.basin import lines_between as lines_between
from lightning_lr.weight_space.basin import loss_along_line as loss_along_line
