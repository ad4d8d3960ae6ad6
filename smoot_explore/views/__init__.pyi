from .bars import amounts as amounts
from .bars import probabilities as probabilities
from .class_board import class_board as class_board
from .classes import class_peaks as class_peaks
from .classes import class_scatter as class_scatter
from .curves import (
    accuracy_drop as accuracy_drop,
)
from .curves import (
    class_means as class_means,
)
from .curves import (
    class_share as class_share,
)
from .curves import (
    masking_curve as masking_curve,
)
from .curves import (
    masking_curves as masking_curves,
)
from .curves import (
    probe_drop as probe_drop,
)
from .dynamics import class_changes as class_changes
from .dynamics import dataset_map as dataset_map
from .landscape import cobweb as cobweb
from .landscape import k_landscape as k_landscape
from .live import Live as Live
from .moves import single_moves as single_moves
from .paper import save as save
from .pictures import (
    images as images,
)
from .pictures import (
    masking as masking,
)
from .pictures import (
    picture_grid as picture_grid,
)
from .pictures import (
    saliency_maps as saliency_maps,
)
from .pictures import (
    stages as stages,
)
from .sweeps import SweepView as SweepView
from .sweeps import parallel_coordinates as parallel_coordinates
from .sweeps import sweep_curves as sweep_curves
from .sweeps import sweep_map as sweep_map
from .training import accuracies as accuracies
from .training import losses as losses
from .trajectories import (
    k_histogram as k_histogram,
)
from .trajectories import (
    k_spread as k_spread,
)
from .trajectories import (
    k_trajectories as k_trajectories,
)
from .trajectories import (
    single_k as single_k,
)
from .what_if import frozen_and_trained as frozen_and_trained
