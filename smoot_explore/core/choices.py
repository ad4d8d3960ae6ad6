"""What settings and measurements can be named: known without loading the code behind the names."""

METHODS = ("traditional", "sgt", "smoot")
OPTIMIZERS = ("adadelta", "sgd", "adam", "adamw")
FILLS = ("remaining", "image_range", "mean", "black", "blur")
RANDOM_FILLS = ("remaining", "image_range")
K_RULES = ("smoot", "magnitude")
SCHEDULES = ("constant", "settle", "cosine")
ORDERS = ("lowest", "highest")
ATTRIBUTIONS = (
    "gradient",
    "input_x_gradient",
    "integrated_gradients",
    "smoothgrad",
    "gradient_shap",
    "deeplift",
    "occlusion",
    "grad_cam",
    "random",
)
