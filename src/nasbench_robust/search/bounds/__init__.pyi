from .boxes import image_box as image_box
from .intervals import certified_margins as certified_margins
from .intervals import interval_bounds as interval_bounds
from .intervals import log_radius as log_radius
from .jacobians import jacobian_norms as jacobian_norms
from .jacobians import jacobian_robustness as jacobian_robustness
from .jacobians import linearised_radius as linearised_radius
from .jacobians import running_statistics as running_statistics
