"""Assignment of rows to columns, the whole list.

- ``assign``: exact, every row or every column paired (Jonker and Volgenant);
- ``assign_gated``: exact, with a price for staying unpaired;
- ``assign_sparse``: the same for listed pairs;
- ``assign_auction``: exact to a stated epsilon (Bertsekas);
- ``assign_greedy``: the cheapest pair first.
"""

from perception.kernels.assignment_approximate import assign_auction, assign_greedy
from perception.kernels.assignment_dense import assign
from perception.kernels.assignment_sparse import assign_gated, assign_sparse

__all__ = ["assign", "assign_auction", "assign_gated", "assign_greedy", "assign_sparse"]
