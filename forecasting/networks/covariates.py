"""What a network is told beside y: past, known-future and static covariates, and the calendar."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forecasting.schema import Covariate


class CovariateEncoder(nn.Module):
    """Columns [..., n] with masks as features: value and mask; embedding; or one-hot.

    ``unseen`` : training hides categories, so that code 0 is learned. Where it does not, code 0 is
    nothing: weights for what is never shown would stay as they were drawn.
    """

    def __init__(
        self, covariates: tuple[Covariate, ...], embedding_size: int, *, unseen: bool = True
    ) -> None:
        super().__init__()
        self.covariates, self.unseen = covariates, unseen
        self.tables = nn.ModuleDict()
        self.size = 0
        for j, covariate in enumerate(covariates):
            if covariate.type == "real":
                self.size += 2
            elif covariate.encoding == "onehot":
                self.size += len(covariate.categories) + 1
            else:
                table = nn.Embedding(len(covariate.categories) + 1, embedding_size)
                if not unseen:
                    nn.init.zeros_(table.weight[0])
                self.tables[str(j)] = table
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
                hot = (column[..., None] == codes).to(values.dtype)
                parts.append(hot if self.unseen else hot * (codes > 0).to(values.dtype))
            else:
                parts.append(self.tables[str(j)](column.long()))
        return torch.cat(parts, dim=-1)
