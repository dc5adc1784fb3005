"""What a network is told beside y: past, known-future and static covariates, and the calendar."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forecasting.config import Covariate


class CovariateEncoder(nn.Module):
    """Columns [..., n] with masks as features: value and mask; embedding; or one-hot."""

    def __init__(self, covariates: tuple[Covariate, ...], embedding_size: int) -> None:
        super().__init__()
        self.covariates = covariates
        self.tables = nn.ModuleDict()
        self.size = 0
        for j, covariate in enumerate(covariates):
            if covariate.type == "real":
                self.size += 2
            elif covariate.encoding == "onehot":
                self.size += len(covariate.categories) + 1
            else:
                self.tables[str(j)] = nn.Embedding(len(covariate.categories) + 1, embedding_size)
                self.size += embedding_size

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """``values`` and ``mask`` (1 where known), both [..., n], to features [..., ``size``]."""
        parts = []
        for j, covariate in enumerate(self.covariates):
            column = values[..., j]
            if covariate.type == "real":
                parts.append(torch.stack([column * mask[..., j], mask[..., j]], dim=-1))
            elif covariate.encoding == "onehot":
                codes = torch.arange(len(covariate.categories) + 1, device=values.device)
                parts.append((column[..., None] == codes).to(values.dtype))
            else:
                parts.append(self.tables[str(j)](column.long()))
        return torch.cat(parts, dim=-1)
