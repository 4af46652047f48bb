"""Tolerances of the claims about augmentation, data, decisions and files; ``tolerances.py`` merges them."""

_ROUNDING = "two or three roundings of numbers up to 255 in float32, whose steps are 1.5e-5"
_SINE = (
    "cosine and sine of this backend differ from torch's in the last bit of float32, which moves a point by up to "
    "4e-5 pixels at 225: with 255 between neighbouring pixels of noise, 1e-2 in the worst case"
)
_PRODUCT = (
    "Keras on torch makes coordinates by einsum, whose order and rounding are the processor's own: measured at 225 "
    "pixels, einsum is 3.0e-5 from float64, a product after the other 3.4e-5, together 1.6e-2 of 255 between neighbours"
)
_TIES = "share of pixels: a point in the middle between two pixels goes to either by the last bit"
_EXACT = "the same arithmetic: a single difference fails"
_DRAWS = "two samples of 4000 of one distribution come further apart once in 10 000 times (Kolmogorov-Smirnov)"
_INTEGERS = "ours is rounded to integers, hence 1/2; 1e-3 for the order of float32 operations"
_RATES = "Keras keeps the rate in float32, relative precision 6e-8, and multiplies it up to 24 times"

_INTERPOLATED = ("reflect", "constant", "nearest", "wrap", "noise, 160 and 225 px")

_GEOMETRY: dict[str, tuple[float, str]] = {
    f"{name}:{variant}": (tolerance, reason)
    for name in ("RandomRotation-matrix", "RandomZoom", "RandomTranslation")
    for variant, tolerance, reason in (
        *((variant, 1e-4, _ROUNDING) for variant in _INTERPOLATED),
        ("interpolation nearest", 1e-4, _TIES),
    )
}

_SINES: dict[str, tuple[float, str]] = {
    f"RandomRotation:{variant}/float32/{backend}": (2e-2, _SINE)
    for backend in ("jax", "tensorflow")
    for variant in _INTERPOLATED
}

_PRODUCTS: dict[str, tuple[float, str]] = {
    f"{name}:{variant}/float32/torch": (2e-2, _PRODUCT)
    for name in ("RandomRotation", "RandomRotation-matrix")
    for variant in _INTERPOLATED
}

TOLERANCES_DATA: dict[str, tuple[float, str]] = {
    **_GEOMETRY,
    "RandomRotation:interpolation nearest": (1e-4, _TIES),
    **_SINES,
    **_PRODUCTS,
    "RandomFlip": (0.0, _EXACT),
    "RandomContrast": (1e-4, _ROUNDING + "; means are summed in different orders"),
    "RandomBrightness": (0.0, _EXACT),
    "ColorJitter": (5e-4, "to HSV and back, with Keras' 1e-7 beside divisors that may be small"),
    "augmentation-float64:RandomRotation": (1e-9, "rounding of float64"),
    "augmentation-float64:RandomRotation/float64/tensorflow": (
        1e-2,
        "TensorFlow takes float32 matrices alone; 5e-3 was seen, and sines in float32 are another CPU's own",
    ),
    "augmentation-float64:RandomZoom": (2e-3, "Keras makes float32 matrices of zooms on every backend"),
    "augmentation-float64:RandomZoom/float64/tensorflow": (5e-3, "TensorFlow takes float32 matrices alone"),
    "augmentation-float64:RandomTranslation": (1e-9, "rounding of float64"),
    "augmentation-float64:RandomTranslation/float64/tensorflow": (5e-3, "TensorFlow takes float32 matrices alone"),
    "augmentation-float64:RandomFlip": (0.0, _EXACT),
    "augmentation-float64:RandomContrast": (1e-9, "rounding of float64"),
    "augmentation-float64:RandomBrightness": (1e-9, "rounding of float64"),
    "augmentation-float64:ColorJitter": (5e-4, "Keras' 1e-7 beside divisors, whatever the precision"),
    "draws": (0.05, _DRAWS),
    "pipeline/float32": (1e-3, "two or three resamplings and colours, each with the roundings of its own claim"),
    "pipeline/float32/torch": (5e-3, _PRODUCT + "; 4.6e-3 at the 65 of these images"),
    "pipeline/float64": (1e-3, "Keras makes float32 matrices of zooms; colours as in ColorJitter"),
    "pipeline/float64/tensorflow": (5e-3, "TensorFlow takes float32 matrices alone"),
    "fused": (
        1.1,
        "a linear interpolation of these waves is off by up to 60 (12.6/95)^2 / 4 = 0.27; theirs has two or "
        "three in a row, ours one",
    ),
    "fused-matrix/float32": (
        2e-2,
        "the product, its way to grid_sample's fractions, and Keras' coordinates are each rounded to float32, at 150 "
        "pixels by 8e-6: eight such roundings of both axes are 1.5e-2 of 255 between neighbouring pixels of noise",
    ),
    "fused-matrix/float64": (1e-9, "rounding of float64"),
    "fused-matrix/float64/tensorflow": (5e-3, "TensorFlow takes float32 matrices alone"),
    **{f"fused-matrix:{mode}, interpolation nearest": (1e-4, _TIES) for mode in _INTERPOLATED[:4]},
    "split-keras": (0.0, "a place holds the same file or not"),
    "split-keras-flowers": (0.0, "a place holds the same file or not"),
    "split-keras_ref": (0.0, "a place holds the same file or not"),
    "resize-png": (0.501, _INTEGERS),
    "resize-ops": (0.501, _INTEGERS),
    "decode-jpeg:as Keras": (
        8.0,
        "TensorFlow's default is libjpeg's fast, inexact inverse transform (JDCT_IFAST); ours is the exact one",
    ),
    "decode-jpeg:INTEGER_ACCURATE": (0.0, "both are libjpeg-turbo"),
    "decode-jpeg-flowers:as Keras": (8.0, "as for decode-jpeg"),
    "decode-jpeg-flowers:INTEGER_ACCURATE": (0.0, "both are libjpeg-turbo"),
    "load-jpeg-flowers:largest": (8.5, "as for decode-jpeg, and 1/2 for ours being rounded to integers"),
    "load-jpeg-flowers:mean": (
        1.5,
        "0.96 on these photographs, by the decoder and 1/4 for ours being rounded to integers; half as much again for "
        "others",
    ),
    "pixels-keras_ref": (0.0, "Pillow and torchvision both carry libjpeg-turbo; resizing rounds at the same places"),
    "metrics": (1e-6, "sums of float32; Keras adds 1e-7 to divisors of F1"),
    "early-stopping": (0.0, "a decision is the same or not"),
    "early-stopping-nan": (0.0, "a decision is the same or not"),
    "early-stopping-keras_ref": (0.0, "a decision is the same or not"),
    "plateau:eps 0": (1e-6, _RATES),
    "plateau:default eps": (2e-8, "torch leaves out reductions by less than its eps of 1e-8"),
    "schedules-keras_ref": (1e-6, _RATES),
    "cosine": (5e-6, "CosineDecay adds a cosine in float32 to 1; torch multiplies step by step"),
    "export": (5e-6, "probabilities after 52 convolutions in float32"),
    "export-read-again": (0.0, "bits are equal or not"),
    "import": (0.0, "bits are equal or not"),
}
